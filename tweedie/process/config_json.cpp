#include "tweedie/process/config_json.h"

#include <algorithm>
#include <map>

#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

// Keys of diffusers' other schedulers for the same networks, and of its own first releases.
// clang-format off
const std::vector<std::string> kForeignKeys = {
    "algorithm_type", "base_image_seq_len", "base_shift", "clip_denoised", "correct_steps", "corrector_order", "disable_corrector",
    "eta", "euler_at_final", "final_sigmas_type", "flow_shift", "interpolation_type",
    "invert_sigmas", "lambda_min_clipped", "lower_order_final", "max_image_seq_len", "max_shift",
    "original_inference_steps", "predict_epsilon", "predict_x0", "predictor_order", "rho", "s_noise", "sampling_eps", "shift_terminal",
    "skip_prk_steps", "snr", "solver_order", "solver_p", "solver_type",
    "stochastic_sampling", "tau_func", "tensor_format", "time_shift_type",
    "timestep_scaling", "timestep_type", "timestep_values", "use_beta_sigmas",
    "use_dynamic_shifting", "use_exponential_sigmas", "use_flow_sigmas", "use_karras_sigmas",
    "use_lu_lambdas"};
// clang-format on

Json edm_json(const ProcessOptions& options) {
  return {{"num_train_timesteps", options.num_train_timesteps},
          {"sigma_min", options.sigma_min},
          {"sigma_max", options.sigma_max},
          {"sigma_data", options.sigma_data},
          {"sigma_schedule", options.sigma_schedule},
          {"rho", 7.0},
          {"prediction_type", "epsilon"},  // what diffusers calls the preconditioned network
          {"final_sigmas_type", "zero"}};
}

Json flow_json(const ProcessOptions& options) {
  return {{"num_train_timesteps", options.num_train_timesteps},
          {"shift", options.shift},
          {"use_dynamic_shifting", false}};
}

bool holds(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

}  // namespace

ProcessOptions process_options_from_json(const Json& scheduler_config) {
  if (!scheduler_config.is_object())
    options_detail::wrong_type("scheduler_config.json", "an object", scheduler_config);
  const std::vector<std::string> known = field_names<ProcessOptions>();
  Json ours = Json::object();
  for (const auto& [key, value] : scheduler_config.items()) {
    if (key.starts_with("_") || holds(kForeignKeys, key)) continue;
    if (!holds(known, key)) fail_unknown("scheduler key", key, known);
    // DPM-Solver's "none learned", Euler's "as trained".
    const bool absent = value.is_null() && (key == "variance_type" || key.starts_with("sigma_"));
    if (!absent) ours[key] = value;
  }
  if (scheduler_config.contains("predict_epsilon") && !ours.contains("prediction_type")) {
    bool epsilon = true;  // what diffusers had before prediction_type
    from_json(scheduler_config["predict_epsilon"], epsilon, "predict_epsilon");
    if (!epsilon) ours["prediction_type"] = "sample";
  }
  const std::string class_name = scheduler_config.value("_class_name", "");
  if (class_name.starts_with("EDM")) {
    ours["path"] = "edm";
    if (ours.value("prediction_type", "epsilon") == "epsilon") ours["prediction_type"] = "edm";
  } else if (class_name.starts_with("FlowMatch")) {
    ours["path"] = "flow", ours["prediction_type"] = "flow_prediction";
  }
  ProcessOptions options;
  from_json(ours, options);
  return options;
}

bool betas_have_name(const ProcessOptions& options) {
  const ProcessOptions usual;
  return !options.trained_betas && options.cosine_s == usual.cosine_s &&
         options.max_beta == usual.max_beta &&
         holds({"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"},
               options.beta_schedule);
}

std::string scheduler_class(const ProcessOptions& options) {
  const std::string& prediction = options.prediction_type;
  if (options.path == "vp") return "DDPMScheduler";
  if (options.path == "edm" && prediction == "edm") return "EDMEulerScheduler";
  if (options.path == "flow" && prediction == "flow_prediction")
    return "FlowMatchEulerDiscreteScheduler";
  fail(
      "[process] a model of path {} and prediction_type {} has no scheduler_config.json: edm goes "
      "with edm, flow with flow_prediction, vp with all",
      options.path, prediction);
}

Json scheduler_json(const ProcessOptions& options, const std::string& class_name) {
  Json json = to_json(options);
  for (const char* key :
       {"path", "sigma_min", "sigma_max", "sigma_schedule", "shift", "cosine_s", "max_beta"})
    json.erase(key);
  if (options.prediction_type != "edm") json.erase("sigma_data");
  if (options.beta_schedule == "learned") json["beta_schedule"] = "linear";  // trained_betas count
  const bool named = holds({"linear", "scaled_linear", "squaredcos_cap_v2"}, options.beta_schedule);
  const bool known = betas_have_name(options) && (named || class_name != "DDIMScheduler");
  if (options.path == "vp" && !options.trained_betas && !known) {
    ProcessOptions plain = options;
    plain.rescale_betas_zero_snr = false;  // the reader rescales
    json["trained_betas"] = make_betas(plain);
    json["beta_schedule"] = "linear";
  }
  if (class_name == "EDMEulerScheduler" || class_name == "FlowMatchEulerDiscreteScheduler") {
    json = class_name.starts_with("EDM") ? edm_json(options) : flow_json(options);
    for (const char* key : {"clip_sample", "clip_sample_range", "variance_type"})  // for ourselves
      json[key] = to_json(options)[key];
  } else if (class_name == "DDPMScheduler") {
    json.erase("set_alpha_to_one");
  } else if (class_name == "DDIMScheduler") {
    json.erase("variance_type");
  } else {
    fail_unknown(
        "scheduler class", class_name,
        {"DDPMScheduler", "DDIMScheduler", "EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"});
  }
  json["_class_name"] = class_name;
  json["_diffusers_version"] = kDiffusersVersion;
  const auto sorted = json.get<std::map<std::string, Json>>();
  return Json(sorted);
}

}  // namespace tweedie

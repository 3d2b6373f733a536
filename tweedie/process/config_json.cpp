#include "tweedie/process/config_json.h"

#include <algorithm>
#include <map>

#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

// The release of diffusers whose formats these are.

// Keys of diffusers' other schedulers for the same networks, and of its own first releases.
// clang-format off
const std::vector<std::string> kForeignKeys = {
    "algorithm_type", "clip_denoised", "correct_steps", "corrector_order", "disable_corrector",
    "eta", "euler_at_final", "final_sigmas_type", "flow_shift", "interpolation_type",
    "lambda_min_clipped", "lower_order_final", "original_inference_steps", "predict_epsilon",
    "predict_x0", "predictor_order", "rho", "s_noise", "sampling_eps", "shift_terminal",
    "sigma_data", "sigma_max", "sigma_min", "sigma_schedule", "skip_prk_steps", "snr",
    "solver_order", "solver_p", "solver_type", "tau_func", "tensor_format", "time_shift_type",
    "timestep_scaling", "timestep_type", "timestep_values", "use_beta_sigmas",
    "use_dynamic_shifting", "use_exponential_sigmas", "use_flow_sigmas", "use_karras_sigmas",
    "use_lu_lambdas"};
// clang-format on

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
    const bool absent = key == "variance_type" && value.is_null();  // DPM-Solver's "none learned"
    if (!absent) ours[key] = value;
  }
  if (scheduler_config.contains("predict_epsilon") && !ours.contains("prediction_type")) {
    bool epsilon = true;  // what diffusers had before prediction_type
    from_json(scheduler_config["predict_epsilon"], epsilon, "predict_epsilon");
    if (!epsilon) ours["prediction_type"] = "sample";
  }
  ProcessOptions options;
  from_json(ours, options);
  return options;
}

Json scheduler_json(const ProcessOptions& options, const std::string& class_name) {
  Json json = to_json(options);
  if (class_name == "DDPMScheduler") {
    json.erase("set_alpha_to_one");
  } else if (class_name == "DDIMScheduler") {
    json.erase("variance_type");
    if (!holds({"linear", "scaled_linear", "squaredcos_cap_v2"}, options.beta_schedule)) {
      ProcessOptions plain = options;
      plain.rescale_betas_zero_snr = false;  // the reader rescales
      json["trained_betas"] = make_betas(plain);
      json["beta_schedule"] = "linear";
    }
  } else {
    fail_unknown("scheduler class", class_name, {"DDPMScheduler", "DDIMScheduler"});
  }
  json["_class_name"] = class_name;
  json["_diffusers_version"] = kDiffusersVersion;
  const auto sorted = json.get<std::map<std::string, Json>>();
  return Json(sorted);
}

}  // namespace tweedie

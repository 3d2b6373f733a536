#include "tweedie/process/config_json.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

std::string message_of(const std::string& text) {
  return testing::message_of([&] { process_options_from_json(Json::parse(text)); });
}

std::vector<std::string> keys_of(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

}  // namespace

TEST(SchedulerConfig, ReadsWhatDiffusersSaves) {
  const ProcessOptions o = process_options_from_json(Json::parse(R"({
    "_class_name": "DDPMScheduler", "_diffusers_version": "0.42.1", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
    "clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995, "num_train_timesteps": 500,
    "prediction_type": "v_prediction", "rescale_betas_zero_snr": true, "sample_max_value": 1.0,
    "steps_offset": 1, "thresholding": false, "timestep_spacing": "trailing",
    "trained_betas": null, "variance_type": "fixed_large"})"));
  EXPECT_EQ(o.beta_end, 0.012);
  EXPECT_EQ(o.beta_schedule, "scaled_linear");
  EXPECT_EQ(o.num_train_timesteps, 500);
  EXPECT_EQ(o.prediction_type, "v_prediction");
  EXPECT_EQ(o.variance_type, "fixed_large");
  EXPECT_EQ(o.steps_offset, 1);
  EXPECT_TRUE(o.rescale_betas_zero_snr);
  EXPECT_FALSE(o.clip_sample);
  EXPECT_FALSE(o.trained_betas.has_value());
}

TEST(SchedulerConfig, DefaultsAreThoseOfDiffusers) {
  const ProcessOptions o = process_options_from_json(Json::object());
  EXPECT_EQ(to_json(o).dump(), Json::parse(R"({
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02,
    "beta_schedule": "linear", "trained_betas": null, "prediction_type": "epsilon",
    "variance_type": "fixed_small", "clip_sample": true, "clip_sample_range": 1.0,
    "thresholding": false, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0,
    "timestep_spacing": "leading", "steps_offset": 0, "set_alpha_to_one": true,
    "rescale_betas_zero_snr": false, "path": "vp", "sigma_min": 0.002, "sigma_max": 80.0,
    "sigma_data": 0.5, "shift": 1.0, "sigma_schedule": "karras",
    "cosine_s": 0.008, "max_beta": 0.999})")
                                   .dump());
}

TEST(SchedulerConfig, PassesOverKeysOfOtherSchedulersAndNoOthers) {
  const ProcessOptions o = process_options_from_json(Json::parse(R"({
    "_class_name": "DPMSolverMultistepScheduler", "_anything": 1, "algorithm_type": "dpmsolver++",
    "solver_order": 2, "use_karras_sigmas": false, "skip_prk_steps": true, "variance_type": null,
    "lambda_min_clipped": -1e30, "timestep_spacing": "linspace"})"));
  EXPECT_EQ(o.timestep_spacing, "linspace");
  EXPECT_EQ(o.variance_type, "fixed_small");
  EXPECT_EQ(message_of(R"({"beta_strat": 0.1})").substr(0, 63),
            "unknown scheduler key 'beta_strat'; did you mean beta_start? kn");
}

TEST(SchedulerConfig, KnowsTheOldNameOfPredictionType) {
  const auto prediction = [](const char* text) {
    return process_options_from_json(Json::parse(text)).prediction_type;
  };
  EXPECT_EQ(prediction(R"({"predict_epsilon": true})"), "epsilon");
  EXPECT_EQ(prediction(R"({"predict_epsilon": false})"), "sample");
  EXPECT_EQ(prediction(R"({"predict_epsilon": false, "prediction_type": "epsilon"})"), "epsilon");
  EXPECT_NE(message_of(R"({"predict_epsilon": 3})"), "");
}

TEST(SchedulerConfig, RefusesValuesThatNoProcessHas) {
  EXPECT_NE(message_of(R"({"beta_schedule": "linar"})"), "");
  EXPECT_NE(message_of(R"({"prediction_type": "flow"})"), "");
  EXPECT_NE(message_of(R"({"num_train_timesteps": 0})"), "");
  EXPECT_NE(message_of(R"({"beta_start": "0.1"})"), "");
  EXPECT_NE(message_of(R"({"beta_end": 1.5})"), "");
  EXPECT_NE(message_of(R"({"clip_sample": null})"), "");
  EXPECT_NE(message_of("[1]"), "");
}

TEST(SchedulerConfig, WritesEveryKeyOfItsClassSorted) {
  EXPECT_EQ(
      keys_of(scheduler_json({}, "DDPMScheduler")),
      (std::vector<std::string>{
          "_class_name", "_diffusers_version", "beta_end", "beta_schedule", "beta_start",
          "clip_sample", "clip_sample_range", "dynamic_thresholding_ratio", "num_train_timesteps",
          "prediction_type", "rescale_betas_zero_snr", "sample_max_value", "steps_offset",
          "thresholding", "timestep_spacing", "trained_betas", "variance_type"}));
  EXPECT_EQ(
      keys_of(scheduler_json({}, "DDIMScheduler")),
      (std::vector<std::string>{
          "_class_name", "_diffusers_version", "beta_end", "beta_schedule", "beta_start",
          "clip_sample", "clip_sample_range", "dynamic_thresholding_ratio", "num_train_timesteps",
          "prediction_type", "rescale_betas_zero_snr", "sample_max_value", "set_alpha_to_one",
          "steps_offset", "thresholding", "timestep_spacing", "trained_betas"}));
  EXPECT_THROW(scheduler_json({}, "EulerScheduler"), Error);
}

TEST(SchedulerConfig, ComesBackAsItWas) {
  ProcessOptions o;
  o.num_train_timesteps = 3;
  o.trained_betas = {{0.1, 0.2, 0.3}};
  o.prediction_type = "sample";
  o.thresholding = true;
  o.sample_max_value = 2.5;
  o.variance_type = "learned_range";
  const ProcessOptions back = process_options_from_json(scheduler_json(o, "DDPMScheduler"));
  EXPECT_EQ(to_json(back).dump(), to_json(o).dump());
}

TEST(SchedulerConfig, EdmAndFlowHaveClassesOfTheirOwn) {
  ProcessOptions edm, flow, other;
  edm.path = edm.prediction_type = "edm", edm.sigma_max = 50, edm.clip_sample = false;
  flow.path = "flow", flow.prediction_type = "flow_prediction", flow.shift = 3;
  for (const ProcessOptions& o : {edm, flow}) {
    const Json json = scheduler_json(o, scheduler_class(o));
    EXPECT_EQ(to_json(process_options_from_json(json)).dump(), to_json(o).dump()) << json.dump();
  }
  EXPECT_EQ(scheduler_class(edm), "EDMEulerScheduler");
  EXPECT_EQ(scheduler_json(edm, "EDMEulerScheduler")["prediction_type"], "epsilon");
  EXPECT_EQ(scheduler_class(flow), "FlowMatchEulerDiscreteScheduler");
  EXPECT_EQ(scheduler_class({}), "DDPMScheduler");
  other.path = "flow";
  EXPECT_TRUE(
      testing::contains(testing::message_of([&] { scheduler_class(other); }), "flow_prediction"));
  // Euler's "as trained".
  EXPECT_EQ(process_options_from_json(Json::parse(R"({"sigma_max": null})")).sigma_max, 80);
}

TEST(SchedulerConfig, SpellsOutForDdimTheSchedulesItDoesNotKnow) {
  ProcessOptions o;
  o.beta_schedule = "sigmoid";
  o.rescale_betas_zero_snr = true;
  o.prediction_type = "v_prediction";
  const Json json = scheduler_json(o, "DDIMScheduler");
  EXPECT_EQ(json["beta_schedule"], "linear");
  EXPECT_EQ(json["trained_betas"].size(), 1000u);
  EXPECT_EQ(make_betas(process_options_from_json(json)), make_betas(o));
  EXPECT_EQ(scheduler_json(o, "DDPMScheduler")["beta_schedule"], "sigmoid");
}

TEST(SchedulerConfig, HoldsTheBetasThatHaveNoNameInDiffusers) {
  ProcessOptions steeper, capped, own;
  steeper.beta_schedule = capped.beta_schedule = "squaredcos_cap_v2";
  steeper.cosine_s = 0.02, capped.max_beta = 0.5;
  own.beta_schedule = "sigmoid_abar";
  for (const ProcessOptions& o : {steeper, capped, own})
    for (const char* name : {"DDPMScheduler", "DDIMScheduler"}) {
      const Json json = scheduler_json(o, name);
      EXPECT_EQ(json["beta_schedule"], "linear");
      EXPECT_FALSE(json.contains("cosine_s"));
      EXPECT_EQ(make_betas(process_options_from_json(json)), make_betas(o)) << name;
    }
  ProcessOptions usual;
  usual.beta_schedule = "squaredcos_cap_v2";
  EXPECT_TRUE(scheduler_json(usual, "DDPMScheduler")["trained_betas"].is_null());
}

TEST(SchedulerConfig, SaysHowEdmsSigmasGrow) {
  ProcessOptions ve;
  ve.path = ve.prediction_type = "edm", ve.sigma_schedule = "exponential", ve.clip_sample = false;
  const Json json = scheduler_json(ve, "EDMEulerScheduler");
  EXPECT_EQ(json["sigma_schedule"], "exponential");
  EXPECT_EQ(to_json(process_options_from_json(json)).dump(), to_json(ve).dump());
}

}  // namespace tweedie

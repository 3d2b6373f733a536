#include "tweedie/samplers/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/samplers/oracle.h"
#include "tests/samplers/ramp.h"
#include "tests/support/errors.h"
#include "tweedie/process/config_json.h"
#include "tweedie/samplers/invert.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

SchedulerSetup setup(const char* sampler, const char* config, const char* rules = "paper") {
  return scheduler_setup(Json::parse(config), find_sampler(sampler), rules);
}

std::string chosen(const char* config) { return sampler_of(Json::parse(config)); }

// What DDPMScheduler.save_pretrained writes.
constexpr const char* kDdpmFolder =
    R"({"_class_name": "DDPMScheduler", "timestep_spacing": "leading", "clip_sample": true,
        "beta_start": 0.0001, "beta_end": 0.02, "steps_offset": 0})";

}  // namespace

TEST(Scheduler, TheClassPicksTheSampler) {
  EXPECT_EQ(chosen("{}"), "ddpm");
  for (const SamplerInfo& info : samplers()) {
    const std::string scheduler = info.scheduler;
    if (scheduler.empty() || scheduler == "DPMSolverMultistepScheduler") continue;
    EXPECT_EQ(sampler_of({{"_class_name", scheduler}}), info.name);
  }
  EXPECT_EQ(chosen(R"({"_class_name": "DPMSolverMultistepScheduler"})"), "dpmpp_2m");
  EXPECT_EQ(chosen(R"({"_class_name": "DPMSolverMultistepScheduler", "solver_order": 3})"),
            "dpmpp_3m");
  EXPECT_EQ(chosen(R"({"_class_name": "DPMSolverMultistepScheduler",
                       "algorithm_type": "sde-dpmsolver++"})"),
            "dpmpp_2m_sde");
  EXPECT_TRUE(contains(message_of([] {
                         chosen(R"({"_class_name": "DPMSolverMultistepScheduler",
                                    "algorithm_type": "dpmsolver"})");
                       }),
                       "algorithm_type dpmsolver"));
  EXPECT_TRUE(contains(message_of([] { chosen(R"({"_class_name": "LCMScheduler"})"); }),
                       "LCMScheduler, which has no sampler here"));
}

TEST(Scheduler, KeysInTheFileWinAndAbsentOnesAreTheClasss) {
  EXPECT_EQ(setup("euler", "{}").grid.spacing, "linspace");
  EXPECT_EQ(setup("ddim", "{}").grid.spacing, "leading");
  EXPECT_EQ(setup("euler", kDdpmFolder).grid.spacing, "leading");
  EXPECT_FALSE(setup("euler", "{}").process.clip_sample);
  EXPECT_TRUE(setup("ddpm", "{}").process.clip_sample);
  EXPECT_EQ(setup("heun", "{}").process.beta_start, 0.00085);
  EXPECT_EQ(setup("heun", kDdpmFolder).process.beta_start, 0.0001);
  EXPECT_EQ(setup("unipc", R"({"use_karras_sigmas": true})").grid.spacing, "karras");
  EXPECT_EQ(setup("ddim", R"({"use_karras_sigmas": true})").grid.spacing, "leading");
  EXPECT_EQ(setup("heun", R"({"use_exponential_sigmas": true})").grid.spacing, "exponential");
  EXPECT_EQ(setup("unipc", R"({"solver_order": 3})").options.order, 3);
  EXPECT_EQ(setup("unipc", R"({"solver_type": "bh1"})").options.solver_type, "bh1");
  EXPECT_FALSE(setup("unipc", R"({"solver_type": "midpoint"})").options.solver_type);
  EXPECT_EQ(setup("dpmpp_2m", R"({"solver_type": "heun"})").options.solver_type, "heun");
  EXPECT_EQ(setup("deis", R"({"solver_type": "logrho"})").options.basis, "log_rho");
  EXPECT_EQ(setup("deis", "{}").options.basis, "t");
  EXPECT_FALSE(setup("ddim", R"({"set_alpha_to_one": false})").process.set_alpha_to_one);
  EXPECT_TRUE(setup("heun", R"({"set_alpha_to_one": false})").process.set_alpha_to_one);
  EXPECT_FALSE(setup("unipc", R"({"final_sigmas_type": "sigma_min"})").process.set_alpha_to_one);
}

TEST(Scheduler, DiffusersRulesDropWhatTheClassDoesNotHave) {
  for (const char* name : {"euler", "pndm", "unipc", "dpmpp_2m", "deis"}) {
    EXPECT_TRUE(setup(name, kDdpmFolder).process.clip_sample) << name;
    EXPECT_FALSE(setup(name, kDdpmFolder, "diffusers").process.clip_sample) << name;
  }
  for (const char* name : {"ddpm", "ddim", "heun"})
    EXPECT_TRUE(setup(name, kDdpmFolder, "diffusers").process.clip_sample) << name;
  const char* thresholding = R"({"thresholding": true, "clip_sample": false})";
  EXPECT_TRUE(setup("unipc", thresholding, "diffusers").process.thresholding);
  EXPECT_FALSE(setup("heun", thresholding, "diffusers").process.thresholding);
  EXPECT_TRUE(setup("heun", thresholding).process.thresholding);
  EXPECT_FALSE(setup("pndm", "{}", "diffusers").process.set_alpha_to_one);
  EXPECT_TRUE(setup("pndm", "{}").process.set_alpha_to_one);
  EXPECT_EQ(setup("ipndm", "{}", "diffusers").process.prediction_type, "v_prediction");
  EXPECT_EQ(setup("deis", "{}", "diffusers").options.basis, "log_rho");
  EXPECT_EQ(setup("heun", "{}", "diffusers").grid.scheduler, "HeunDiscreteScheduler");
}

TEST(Scheduler, DiffusersRulesStretchNearlyToZeroSnr) {
  const char* config =
      R"({"rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "clip_sample": false})";
  const auto first = [&](const char* name, const char* rules) {
    SchedulerSetup s = setup(name, config, rules);
    s.grid.steps = 10;
    s.grid.spacing = "trailing";
    const double alpha = make_grid(Process(s.process), s.grid).levels.front().alpha;
    return alpha * alpha;
  };
  for (const char* name : {"unipc", "euler"}) {
    EXPECT_EQ(first(name, "paper"), 0);
    EXPECT_NEAR(first(name, "diffusers"), std::exp2(-24), 1e-20);
  }
  EXPECT_EQ(first("ddim", "diffusers"), 0);
  EXPECT_GT(first("heun", "diffusers"), 1e-5) << "Heun has no such key";
}

TEST(Scheduler, EdmAndFlowFoldersAreSampledAlongTheirPaths) {
  ProcessOptions options;
  options.path = "edm", options.prediction_type = "edm";
  const std::string edm = scheduler_json(options, scheduler_class(options)).dump();
  EXPECT_EQ(chosen(edm.c_str()), "euler");
  for (const char* name : {"euler", "heun", "unipc", "edm"}) {
    EXPECT_EQ(setup(name, edm.c_str()).process.path, "edm") << name;
    EXPECT_EQ(setup(name, edm.c_str()).grid.spacing, "karras") << name;
  }
  options.path = "flow", options.prediction_type = "flow_prediction";
  const std::string flow = scheduler_json(options, scheduler_class(options)).dump();
  EXPECT_EQ(chosen(flow.c_str()), "euler");
  EXPECT_EQ(setup("heun", flow.c_str()).grid.spacing, "trailing");
  EXPECT_TRUE(contains(message_of([&] { setup("euler", flow.c_str(), "diffusers"); }),
                       "the model's is flow"));
}

TEST(Scheduler, WhatCannotBeFollowedIsRefused) {
  const auto fault = [](const char* name, const char* config, const char* rules = "paper") {
    return message_of([&] { setup(name, config, rules); });
  };
  EXPECT_TRUE(contains(fault("unipc", R"({"use_beta_sigmas": true})"), "use_beta_sigmas is true"));
  EXPECT_EQ(fault("ddim", R"({"use_beta_sigmas": true})"), "") << "no key of its class";
  EXPECT_TRUE(contains(fault("unipc", R"({"predict_x0": false})"), "follows only true"));
  EXPECT_TRUE(contains(fault("unipc", R"({"disable_corrector": [0]})"), "disable_corrector"));
  EXPECT_TRUE(contains(fault("pndm", R"({"skip_prk_steps": true})"), "skip_prk_steps"));
  EXPECT_TRUE(contains(fault("euler", R"({"timestep_type": "continuous"})"), "continuous"));
  EXPECT_TRUE(contains(fault("edm", "{}", "diffusers"), "no scheduler like edm"));
  EXPECT_TRUE(contains(fault("ddim", "{}", "papers"), "did you mean paper?"));
  EXPECT_TRUE(contains(fault("ddim", R"({"solver_oder": 2})"), "solver_oder"));
}

TEST(Scheduler, DdpmDrawsOnTheWayToTheDataByDiffusersRulesAlone) {
  const char* config = R"({"variance_type": "fixed_large", "timestep_spacing": "trailing"})";
  const auto draws = [&](const char* rules, const char* text) {
    SchedulerSetup s = setup("ddpm", text, rules);
    s.grid.steps = 10;
    return cost_of(find_sampler("ddpm"), make_grid(Process(s.process), s.grid), s.options).draws;
  };
  EXPECT_EQ(draws("paper", config), 9);
  EXPECT_EQ(draws("diffusers", config), 10);
  EXPECT_EQ(draws("diffusers", R"({"variance_type": "fixed_large"})"), 9) << "from t = 0";
}

// A folder's final_sigmas_type sigma_min ends a list at its last level once more: that step stands
// still.
TEST(Scheduler, AStepToTheSameLevelStandsStill) {
  for (const char* name : {"dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "unipc"})
    for (const char* spacing : {"linspace", "leading", "karras"}) {
      SchedulerSetup s = setup(name, R"({"final_sigmas_type": "sigma_min"})");
      s.grid.steps = 8, s.grid.spacing = spacing;
      s.options.corrector = false;  // which would mend the step before
      const Grid grid = make_grid(Process(s.process), s.grid);
      ASSERT_EQ(noise_ratio(grid.levels[8]), noise_ratio(grid.levels[7]));
      std::vector<Tensor> seen;
      SeededNoise noise(1, 0, {2, 1, 1, 2});
      const Tensor x = noise.init().to(at::kDouble);
      find_sampler(name).run(
          plane_mixture(), x, grid, s.options, noise,
          [&](int64_t, int64_t, const Tensor& x, const Tensor&) { seen.push_back(x); });
      ASSERT_EQ(seen.size(), 8u);
      EXPECT_TRUE(seen[6].equal(seen[7])) << name << " " << spacing;
      EXPECT_FALSE(seen[5].equal(seen[6])) << name << " " << spacing;
    }
}

// A list between the timesteps that ends at the first of them, with all the noise that there is.
TEST(Scheduler, EverySamplerEndsAboveTheData) {
  for (const SamplerInfo& sampler : samplers())
    for (const char* spacing : {"karras", "exponential", "leading"}) {
      ProcessOptions options;
      options.set_alpha_to_one = false, options.clip_sample = false;
      const Grid grid = make_grid(Process(options), {.steps = 6, .spacing = spacing});
      SeededNoise noise(1, 0, {2, 1, 1, 2});
      const Tensor x = noise.init().to(at::kDouble);
      const SamplerOptions most{.eta = 1, .s_churn = 6};
      EXPECT_NO_THROW(sampler.run(plane_mixture(), x, grid, most, noise, {}))
          << sampler.name << " " << spacing;
    }
}

// What lies below the first training step was never trained.
TEST(Scheduler, ARunThatEndsAboveTheDataAsksAtTrainedTimesAlone) {
  ProcessOptions options;
  options.set_alpha_to_one = false, options.clip_sample = false;
  const Process process(options);
  double least = 1e9;
  const Denoiser asked = [&](const Tensor& x, const Level& at) {
    least = std::min(least, at.t);
    return Estimate{x, x, {}};
  };
  solve("heun", asked, plane_points(), make_grid(process, {.steps = 5, .spacing = "trailing"}));
  EXPECT_EQ(least, 0);
  least = 1e9;
  ddim_invert(asked, plane_points(), process.levels(5, "trailing"), process.schedule().level(0),
              {});
  EXPECT_EQ(least, 0);
}

}  // namespace tweedie

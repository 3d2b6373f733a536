#include "tweedie/samplers/sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/samplers/ramp.h"
#include "tests/support/errors.h"
#include "tweedie/process/process.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

Tensor gentle_network(const Tensor& x, const Tensor& t) {
  return 0.8 * (1.3 * x + (t / 300).view({-1, 1, 1, 1})).sin();
}

}  // namespace

// Each of these holds for every line of samplers.inc.
class EverySampler : public ::testing::TestWithParam<SamplerInfo> {
 protected:
  Tensor sample(const Tensor& x, Noise& noise, const StepFn& on_step = {}, double eta = 1) const {
    return GetParam().run(process.denoiser(gentle_network), x, grid, {.eta = eta, .s_churn = 4},
                          noise, on_step);
  }
  const Process process{ProcessOptions{}};
  const Grid grid = make_grid(process, {.steps = 12});
};
INSTANTIATE_TEST_SUITE_P(Samplers, EverySampler, ::testing::ValuesIn(samplers()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EverySampler, ReportsEveryStepOnce) {
  SeededNoise noise(1, 0, {2, 1, 4, 4});
  std::vector<int64_t> steps;
  Tensor last;
  const Tensor out = sample(noise.init(), noise,
                            [&](int64_t step, int64_t total, const Tensor& x, const Tensor& x0) {
                              EXPECT_EQ(total, 12);
                              EXPECT_EQ(x0.sizes(), x.sizes());
                              steps.push_back(step);
                              last = x;
                            });
  EXPECT_EQ(steps, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_TRUE(last.equal(out));
}

TEST_P(EverySampler, GivesAnImageWhateverBatchItIsIn) {
  SeededNoise all(7, 0, {5, 3, 4, 4}), first(7, 0, {2, 3, 4, 4}), rest(7, 2, {3, 3, 4, 4});
  const Tensor whole = sample(all.init(), all);
  const Tensor a = sample(first.init(), first), b = sample(rest.init(), rest);
  EXPECT_TRUE(at::cat({a, b}).allclose(whole, 1e-6, 1e-6));
}

TEST_P(EverySampler, LeavesItsInputAlone) {
  SeededNoise noise(3, 0, {2, 1, 4, 4});
  const Tensor x = noise.init(), copy = x.clone();
  sample(x, noise);
  EXPECT_TRUE(x.equal(copy));
}

TEST_P(EverySampler, StopsWhereTheCallbackThrows) {
  SeededNoise noise(3, 0, {2, 1, 4, 4});
  int64_t reached = 0;
  EXPECT_THROW(sample(noise.init(), noise,
                      [&](int64_t step, int64_t, const Tensor&, const Tensor&) {
                        reached = step;
                        if (step == 3) throw Error(Error::Kind::kInterrupted, "interrupted");
                      }),
               Error);
  EXPECT_EQ(reached, 3);
}

TEST_P(EverySampler, StopsWhereXIsNoLongerFinite) {
  const auto poisoned = [&](double poison) {
    CountedOnes noise({1, 1, 1, 1});
    const Denoiser denoise = [&](const Tensor& x, const Level& at) {
      const Tensor x0 = at.t > 900 ? x : at::full_like(x, poison);
      return Estimate{x0, x0, {}};
    };
    return message_of([&] {
      GetParam().run(denoise, at::ones({1, 1, 1, 1}),
                     make_grid(process, {.timesteps = {950, 800, 700}}), {}, noise, {});
    });
  };
  // Step 2 meets it; one that looks ahead does in step 1.
  for (const double poison : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const std::string message = poisoned(poison);
    EXPECT_TRUE(contains(message, formatted("[{}] the images are not finite (NaN or Inf) after "
                                            "step ",
                                            GetParam().name)))
        << message;
    EXPECT_TRUE(contains(message, "step 2, t = 800") || contains(message, "step 1, t = 950"))
        << message;
  }
}

TEST_P(EverySampler, AsksForTheDrawsItNeedsAndNoMore) {
  const Tensor start = SeededNoise(1, 0, {1, 1, 4, 4}).init();
  const int64_t needs = cost_of(GetParam(), grid, {.eta = 1, .s_churn = 4}).draws;
  ReplayedNoise enough(start, at::zeros({needs, 1, 1, 4, 4}));
  EXPECT_NO_THROW(sample(start, enough));
  if (needs == 0) return;  // deterministic
  ReplayedNoise few(start, at::zeros({needs - 1, 1, 1, 4, 4}));
  EXPECT_TRUE(contains(message_of([&] { sample(start, few); }), "draw"));
}

TEST_P(EverySampler, WorksOnTheDeviceOfItsInput) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  SeededNoise cpu(4, 0, {2, 1, 4, 4}), gpu(4, 0, {2, 1, 4, 4});
  const Tensor a = sample(cpu.init(), cpu), b = sample(gpu.init().cuda(), gpu);
  EXPECT_TRUE(b.is_cuda());
  EXPECT_TRUE(b.cpu().allclose(a, 1e-4, 1e-4));
}

TEST_P(EverySampler, SaysWhatItIs) {
  EXPECT_GT(std::string(GetParam().about).size(), 20u);
  EXPECT_EQ(find_sampler(GetParam().name).run, GetParam().run);
}

TEST(Samplers, AreFoundByNameOrRefusedWithTheNames) {
  EXPECT_TRUE(contains(message_of([] { find_sampler("dimm"); }),
                       "unknown sampler 'dimm'; did you mean ddim? known: ddpm, ddim, euler, "));
}

TEST(Samplers, CostIsCounted) {
  const Grid grid = make_grid(Process{ProcessOptions{}}, {.steps = 12});
  const auto cost = [&](const char* name, double eta = 0, double s_churn = 0) {
    const SamplerCost c =
        cost_of(find_sampler(name), grid, {.eta = eta, .s_churn = s_churn, .s_min = 1});
    return std::pair(c.calls, c.draws);
  };
  for (const char* once : {"euler", "dpmpp_2m", "dpmpp_3m", "unipc", "ipndm", "deis"})
    EXPECT_EQ(cost(once), std::pair(int64_t{12}, int64_t{0})) << once;
  for (const char* noisy : {"euler_a", "dpmpp_2m_sde"})
    EXPECT_EQ(cost(noisy), std::pair(int64_t{12}, int64_t{12})) << noisy;
  for (const char* twice : {"heun", "dpm2", "edm"})  // the last step is Euler's
    EXPECT_EQ(cost(twice), std::pair(int64_t{23}, int64_t{0})) << twice;
  EXPECT_EQ(cost("pndm"), std::pair(int64_t{21}, int64_t{0}));  // three steps of four
  int64_t churned = 0;                                          // edm draws where r >= s_min
  for (int64_t i = 0; i < 12; ++i) churned += noise_ratio(grid.levels[i]) >= 1;
  EXPECT_EQ(cost("edm", 0, 4), std::pair(int64_t{23}, churned));
  EXPECT_EQ(cost("ddpm", 0), std::pair(int64_t{12}, int64_t{11}));  // none on the step to the data
  EXPECT_EQ(cost("ddim", 0), std::pair(int64_t{12}, int64_t{0}));
  EXPECT_EQ(cost("ddim", 1), std::pair(int64_t{12}, int64_t{12}));
}

TEST(Samplers, SayWhenTheyNeedWhatLiesBetweenTheLevels) {
  const std::vector<Level> levels = Process{ProcessOptions{}}.levels(12);
  for (const char* name : {"dpm2", "pndm", "deis"})
    EXPECT_TRUE(contains(message_of([&] { cost_of(find_sampler(name), levels, {}); }),
                         formatted("[{}] goes between the levels", name)));
}

TEST(Samplers, RefuseOptionsThatTheyDoNotHave) {
  const Grid grid = make_grid(Process{ProcessOptions{}}, {.steps = 12});
  const auto fault = [&](const char* name, const SamplerOptions& options) {
    return message_of([&] { cost_of(find_sampler(name), grid, options); });
  };
  EXPECT_EQ(fault("unipc", {.order = 4}), "[unipc] order: 4 is outside 1..3");
  EXPECT_EQ(fault("ipndm", {.order = 0}), "[ipndm] order: 0 is outside 1..4");
  EXPECT_TRUE(contains(fault("unipc", {.solver_type = "heun"}), "known: bh1, bh2"));
  EXPECT_TRUE(contains(fault("dpmpp_2m", {.solver_type = "bh1"}), "known: midpoint, heun"));
}

TEST(Samplers, SayWhichOptionsTheyHeed) {
  EXPECT_TRUE(find_sampler("ddim").heeds("eta"));
  EXPECT_TRUE(find_sampler("ddim").heeds("rederive_eps"));
  EXPECT_FALSE(find_sampler("ddpm").heeds("eta"));
  EXPECT_FALSE(find_sampler("ddpm").heeds("variance"));
}

TEST(Samplers, AdviseAgainstFixedLargeOnAStridedChain) {
  SamplerOptions options{.variance_type = "fixed_large"};
  EXPECT_EQ(advice("ddpm", 100, 1000, options),
            "ddpm with fixed_large over 100 steps adds too much noise: it is meant for the full "
            "chain; fixed_small or ddim suit fewer steps");
  EXPECT_EQ(advice("ddpm", 1000, 1000, options), "");
  EXPECT_EQ(advice("ddim", 100, 1000, options), "");
  options.variance_type = "fixed_small";
  EXPECT_EQ(advice("ddpm", 100, 1000, options), "");
}

TEST(Samplers, OptionsAreRead) {
  SamplerOptions options;
  from_json(Json::parse(R"({"eta": 0.5, "variance_type": "learned", "rederive_eps": true})"),
            options);
  EXPECT_EQ(options.eta, 0.5);
  EXPECT_TRUE(options.rederive_eps);
  EXPECT_THROW(from_json(Json::parse(R"({"eta": 1.5})"), options), Error);
  EXPECT_THROW(from_json(Json::parse(R"({"variance_type": "large"})"), options), Error);
}

TEST(Samplers, WhatGoesWrongInAStepSaysInWhich) {
  const Process process{ProcessOptions{}};
  int calls = 0;
  const Denoiser denoise = process.denoiser([&](const Tensor& x, const Tensor&) {
    return ++calls == 3 ? at::full_like(x, std::nan("")) : at::zeros_like(x);
  });
  SeededNoise noise(1, 0, {1, 1, 2, 2});
  const std::string message = message_of(
      [&] { euler(denoise, noise.init(), make_grid(process, {.steps = 5}), {}, noise); });
  EXPECT_TRUE(contains(message, "[euler] step 3: ")) << message;
  EXPECT_TRUE(contains(message, "t = 400")) << message;
  EXPECT_TRUE(contains(message, "not finite")) << message;
}

}  // namespace tweedie

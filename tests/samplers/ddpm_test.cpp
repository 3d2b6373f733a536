#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/samplers/ramp.h"
#include "tests/support/errors.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/process.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

const Schedule& linear() {
  static const Schedule schedule(make_betas({}));
  return schedule;
}

// The standard deviation of one step from k_t to k_p: X = 0, x = 0, noise 1; a further step
// follows, whose denoiser hands x on unchanged through the callback.
double spread(int64_t t, int64_t p, const std::string& variance_type, Tensor log_variance = {}) {
  const Denoiser denoise = [&](const Tensor& x, const Level&) {
    return Estimate{at::zeros_like(x), at::zeros_like(x), log_variance};
  };
  CountedOnes noise({1, 1, 1, 1});
  double std = 0;
  ddpm(denoise, scalar(0), {linear().level(t), linear().level(p), {}},
       {.variance_type = variance_type}, noise,
       [&](int64_t step, int64_t, const Tensor& x, const Tensor&) {
         if (step == 1) std = x.item<double>();
       });
  return std;
}

double ramp_sum(const std::string& prediction) {
  ProcessOptions options;
  options.prediction_type = prediction;
  const Process process(options);
  TorchNoise noise(0, {4, 3, 8, 8});
  return ddpm(process.denoiser(ramp_network), ramp(), process.levels(1000), {}, noise)
      .abs()
      .sum()
      .item<double>();
}

}  // namespace

// 1000 steps with the draws of torch's CPU generator, seed 0, as diffusers' scheduler tests make
// them.
// DDPM Alg. 2
TEST(Ddpm, ReproducesThePublishedSums) {
  EXPECT_NEAR(ramp_sum("epsilon"), 258.961, 2e-2);
  EXPECT_NEAR(ramp_sum("v_prediction"), 202.030, 2e-2);
}

// DDPM Eq. 7
TEST(Ddpm, MeanIsThePosteriorsByTheReferenceCoefficients) {
  CountedOnes noise({1, 1, 1, 1});
  const double x0 = 0.6, x = -0.9, c0 = 0.00307007111426498, c1 = 0.994106670210167;  // k = 499
  double mean = 0;
  ddpm(constant(x0, 0), scalar(x), {linear().level(499), linear().level(498), {}}, {}, noise,
       [&](int64_t step, int64_t, const Tensor& at, const Tensor&) {
         if (step == 1) mean = at.item<double>() - std::sqrt(0.0100313554146137);
       });
  EXPECT_NEAR(mean, c0 * x0 + c1 * x, 1e-11);
}

// DDPM Sec. 3.2
TEST(Ddpm, FixedVariancesAreBetaTildeAndBeta) {
  const double small = std::sqrt(0.0100313554146137), large = std::sqrt(0.01004004004004);
  EXPECT_NEAR(spread(499, 498, "fixed_small"), small, 1e-12);
  EXPECT_NEAR(spread(499, 498, "fixed_small_log"), small, 1e-12);
  EXPECT_NEAR(spread(499, 498, "fixed_large"), large, 1e-12);
  EXPECT_NEAR(spread(499, 498, "fixed_large_log"), large, 1e-12);
  // On a strided list: beta between the two levels, 0.772845995276191^2.
  EXPECT_NEAR(spread(499, 399, "fixed_large"), 0.772845995276191, 1e-11);
  EXPECT_NEAR(spread(499, 399, "fixed_small"), 0.722311091529724, 1e-11);
}

// IDDPM Eq. 15
TEST(Ddpm, LearnedRangeRunsFromBetaTildeToBeta) {
  EXPECT_NEAR(spread(499, 498, "learned_range", scalar(-1)), spread(499, 498, "fixed_small"),
              1e-13);
  EXPECT_NEAR(spread(499, 498, "learned_range", scalar(1)), spread(499, 498, "fixed_large"), 1e-13);
  EXPECT_NEAR(2 * std::log(spread(499, 498, "learned_range", scalar(0))), -4.60160686337992, 1e-11);
  EXPECT_NEAR(2 * std::log(spread(499, 399, "learned_range", scalar(0.5))),
              1.5 * std::log(0.772845995276191) + 0.5 * std::log(0.722311091529724), 1e-11);
}

// IDDPM Sec. 3.1
TEST(Ddpm, LearnedVarianceIsALogarithm) {
  EXPECT_NEAR(spread(499, 498, "learned", scalar(std::log(0.04))), 0.2, 1e-14);
}

TEST(Ddpm, LearnedVarianceNeedsANetworkThatLearnedIt) {
  EXPECT_EQ(message_of([] { spread(499, 498, "learned_range"); }),
            "[ddpm] step 1: [process] variance_type learned_range needs a network with twice the "
            "image's channels");
  EXPECT_TRUE(contains(message_of([] { spread(499, 498, "fixed_smal"); }),
                       "unknown variance_type 'fixed_smal'; did you mean fixed_small"));
}

TEST(Ddpm, EndsAtTheEstimateWithoutNoise) {
  // A folder's set_alpha_to_one is a key of ddim's: ddpm goes to the data all the same.
  ProcessOptions options;
  options.set_alpha_to_one = false;
  for (const int64_t steps : {1, 7}) {
    CountedOnes noise({1, 1, 1, 1});
    const Tensor x =
        ddpm(constant(0.37, 5), scalar(2), Process(options).levels(steps, "trailing"), {}, noise);
    EXPECT_NEAR(x.item<double>(), 0.37, 1e-14);
    EXPECT_EQ(noise.draws, steps - 1);
  }
}

// DDPM Alg. 2
TEST(Ddpm, ExactDenoiserReproducesTheMomentsOfGaussianData) {
  const int64_t n = 4000;
  const Denoiser denoise = mixture_denoiser({{1}, at::full({1, 4}, 0.3), {0.25}});
  const Process process{ProcessOptions{}};
  for (const char* type : {"fixed_small", "fixed_large"}) {
    SeededNoise noise(5, 0, {n, 4});
    const Tensor x =
        ddpm(denoise, noise.init(), process.levels(1000), {.variance_type = type}, noise);
    EXPECT_NEAR(x.mean().item<double>(), 0.3, 0.02) << type;  // sd of the mean 0.004
    EXPECT_NEAR(x.var().item<double>(), 0.25, 0.02) << type;  // sd of the variance 0.003
  }
}

TEST(Ddpm, ExactDenoiserFindsBothModesInTheirProportion) {
  const int64_t n = 4000;
  const Denoiser denoise =
      mixture_denoiser({{1, 3}, at::tensor({-0.8, 0.5}).view({2, 1}), {0.01, 0.01}});
  SeededNoise noise(6, 0, {n, 1});
  const Tensor x =
      ddpm(denoise, noise.init(), Process{ProcessOptions{}}.levels(1000), {}, noise).flatten();
  const Tensor upper = x.masked_select(x > -0.15), lower = x.masked_select(x <= -0.15);
  EXPECT_NEAR(static_cast<double>(upper.numel()) / n, 0.75, 0.03);  // sd 0.007
  EXPECT_NEAR(upper.mean().item<double>(), 0.5, 0.01);
  EXPECT_NEAR(lower.mean().item<double>(), -0.8, 0.02);
  EXPECT_NEAR(upper.std().item<double>(), 0.1, 0.01);
}

}  // namespace tweedie

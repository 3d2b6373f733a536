// Samplers that draw noise, and one that does not: a mixture's weights, means and variances within
// the bounds that as many draws of the mixture itself would keep to (four standard errors), and its
// distribution function within Kolmogorov's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/samplers/oracle.h"
#include "tests/samplers/ramp.h"

namespace tweedie {
namespace {

constexpr int64_t kDraws = 20000;
constexpr double kWeight = 0.75, kUpper = 0.5, kLower = -0.8, kStd = 0.1;

Tensor draw(const char* sampler, const SamplerOptions& options, int64_t steps,
            const char* spacing) {
  const Denoiser denoise = mixture_denoiser({{1 - kWeight, kWeight},
                                             at::tensor({kLower, kUpper}).view({2, 1}),
                                             {kStd * kStd, kStd * kStd}});
  SeededNoise noise(6, 0, {kDraws, 1});
  const Grid grid = make_grid(Process{ProcessOptions{}}, {.steps = steps, .spacing = spacing});
  return find_sampler(sampler).run(denoise, noise.init(), grid, options, noise, {}).flatten();
}

void expect_the_mixture(const Tensor& x) {
  const Tensor upper = x.masked_select(x > -0.15), lower = x.masked_select(x <= -0.15);
  const double n = kDraws, above = n * kWeight, below = n - above;
  EXPECT_NEAR(upper.numel() / n, kWeight, 4 * std::sqrt(kWeight * (1 - kWeight) / n));
  EXPECT_NEAR(upper.mean().item<double>(), kUpper, 4 * kStd / std::sqrt(above));
  EXPECT_NEAR(lower.mean().item<double>(), kLower, 4 * kStd / std::sqrt(below));
  EXPECT_NEAR(upper.std().item<double>(), kStd, 4 * kStd / std::sqrt(2 * above));
  EXPECT_NEAR(lower.std().item<double>(), kStd, 4 * kStd / std::sqrt(2 * below));
}

// The largest distance between the draws' distribution function and that of the mixture.
double kolmogorov(const Tensor& x) {
  const Tensor sorted = std::get<0>(x.to(at::kDouble).sort());
  const auto below = [](double value, double mean) {
    return std::erfc((mean - value) / kStd / std::numbers::sqrt2) / 2;
  };
  double largest = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    const double value = sorted.data_ptr<double>()[i];
    const double F = kWeight * below(value, kUpper) + (1 - kWeight) * below(value, kLower);
    const double i0 = double(i) / kDraws, i1 = double(i + 1) / kDraws;
    largest = std::max({largest, std::abs(F - i0), std::abs(F - i1)});
  }
  return largest;
}

}  // namespace

TEST(Stochastic, TheMixtureIsDrawnFromInItsProportions) {
  const struct {
    const char* sampler;
    SamplerOptions options;
    int64_t steps;
  } cases[] = {{"ddpm", {}, 500},
               {"ddim", {.eta = 1}, 500},
               {"euler_a", {}, 500},
               {"dpmpp_2m_sde", {}, 150},
               {"edm", {.s_churn = 30, .s_min = 0.02, .s_max = 50}, 80},
               {"heun", {}, 80}};
  for (const auto& one : cases) {
    SCOPED_TRACE(one.sampler);
    const Tensor x = draw(one.sampler, one.options, one.steps, "log_snr");
    expect_the_mixture(x);
    // 1.95/sqrt(n) is exceeded by one in a thousand; 0.005 are a deviation 2 % too small.
    EXPECT_LT(kolmogorov(x), 1.95 / std::sqrt(kDraws) + 0.005);
  }
  // What it would say of one Gaussian with the mixture's mean and deviation.
  const double mean = kWeight * kUpper + (1 - kWeight) * kLower;
  const double deviation = std::sqrt(kStd * kStd + kWeight * (kUpper - mean) * (kUpper - mean) +
                                     (1 - kWeight) * (kLower - mean) * (kLower - mean));
  SeededNoise noise(8, 0, {kDraws, 1});
  EXPECT_GT(kolmogorov((mean + deviation * noise.init()).flatten()), 0.1);
}

TEST(Stochastic, EdmWithoutChurnIsHeunBitForBit) {
  const Tensor heun = draw("heun", {}, 12, "karras");
  EXPECT_TRUE(heun.equal(draw("edm", {}, 12, "karras")));
  EXPECT_TRUE(heun.equal(draw("edm", {.s_churn = 9, .s_min = 1e4}, 12, "karras")));
  EXPECT_FALSE(heun.equal(draw("edm", {.s_churn = 9}, 12, "karras")));
}

TEST(Stochastic, EulerAncestralIsDdimAtEtaOne) {
  EXPECT_TRUE(
      draw("euler_a", {}, 20, "trailing")
          .allclose(draw("ddim", {.eta = 1, .rederive_eps = true}, 20, "trailing"), 1e-3, 1e-4));
}

// One step of the 2M SDE is the same step; the second has a term of its own.
TEST(Stochastic, SdeDpmSolverIsOfOrderOneBeforeItHasAHistory) {
  const Process process{ProcessOptions{}};
  const std::vector<Level> two = {process.schedule().level(700), process.schedule().level(400)};
  CountedOnes ones({1, 1, 1, 1}), same({1, 1, 1, 1});
  const Tensor a = dpmpp_2m_sde(constant(0.4, 0), scalar(0.9), two, {}, ones);
  const Tensor b = euler_a(constant(0.4, 0), scalar(0.9), two, {}, same);
  EXPECT_NEAR(a.item<double>(), b.item<double>(), 1e-14);
}

// x' = (s'/s) e^-h x + a' (1 - e^-2h) (D + (D - D_before)/(2 q)) + s' sqrt(1 - e^-2h) z, with its
// parts written out.
TEST(Stochastic, SdeDpmSolverExtrapolatesItsEstimate) {
  const Schedule schedule(make_betas({}));
  const Level before = schedule.level(800), at = schedule.level(600), next = schedule.level(450);
  const auto half_log_snr = [](const Level& l) { return std::log(l.alpha / l.sigma); };
  const double h = half_log_snr(next) - half_log_snr(at);
  const double q = (half_log_snr(at) - half_log_snr(before)) / h;
  const double D = 0.4, D_before = -0.3, x = 0.9, gone = 1 - std::exp(-2 * h);
  const double expected = next.sigma / at.sigma * std::exp(-h) * x +
                          next.alpha * gone * (D + (D - D_before) / (2 * q)) +
                          next.sigma * std::sqrt(gone);
  CountedOnes ones({1, 1, 1, 1});
  SamplerOptions options{.lower_order_final = false};
  options.history = {{before, scalar(D_before), {}}};
  EXPECT_NEAR(dpmpp_2m_sde(constant(D, 0), scalar(x), {at, next}, options, ones).item<double>(),
              expected, 1e-14);
}

// EDM Alg. 2 by hand on one step with alpha = 1: r = 2, gamma = min(S_churn/N, sqrt(2) - 1).
TEST(Stochastic, EdmRenewsNoiseAsItsAlgorithmSays) {
  const Denoiser toward_zero = [](const Tensor& x, const Level&) {
    return Estimate{at::zeros_like(x), x, {}};
  };
  const double r = 2, next = 1.5, x = 0.8, noise_scale = 1.1;
  for (const double churn : {0.2, 5.}) {
    const double gamma = std::min(churn, std::sqrt(2.) - 1), r_hat = r * (1 + gamma);
    const double x_hat = x + noise_scale * std::sqrt(r_hat * r_hat - r * r);
    const double euler = x_hat + (next - r_hat) * x_hat / r_hat;
    const double expected = x_hat + (next - r_hat) / 2 * (x_hat / r_hat + euler / next);
    CountedOnes ones({1, 1, 1, 1});
    const Grid grid({ve_path().at_ratio(r), ve_path().at_ratio(next)}, ve_path());
    const Tensor out =
        edm(toward_zero, scalar(x), grid, {.s_churn = churn, .s_noise = noise_scale}, ones);
    EXPECT_NEAR(out.item<double>(), expected, 1e-14) << churn;
    EXPECT_EQ(ones.draws, 1);
  }
}

// Pure noise holds all the noise there is, whatever s_max.
TEST(Stochastic, EdmRenewsNothingWhereNoSignalIsLeft) {
  const Grid grid = make_grid(
      Process({.prediction_type = "flow_prediction", .clip_sample = false, .path = "flow"}),
      {.steps = 4, .spacing = "trailing"});
  ASSERT_EQ(grid.levels[0].alpha, 0);
  CountedOnes ones({1, 1, 1, 1});
  const SamplerOptions options{.s_churn = 10, .s_max = HUGE_VAL};
  const Tensor x = edm(constant(0.5, 0), scalar(1), grid, options, ones);
  EXPECT_TRUE(std::isfinite(x.item<double>()));
  EXPECT_EQ(ones.draws, 3);
}

}  // namespace tweedie

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/samplers/ramp.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/process.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {
namespace {

double ramp_sum(const ProcessOptions& options, const SamplerOptions& sampler = {}) {
  const Process process(options);
  ReplayedNoise none({}, {});
  return ddim(process.denoiser(ramp_network), ramp(), process.levels(10), sampler, none)
      .abs()
      .sum()
      .item<double>();
}

// One step from k_t to k_p (-1 is the data) of a scalar, with noise 1.
double step(int64_t t, int64_t p, double x0, double eps, double eta) {
  const Schedule schedule(make_betas({}));
  CountedOnes noise({1, 1, 1, 1});
  return ddim(constant(x0, eps), scalar(0), {schedule.level(t), schedule.level(p)}, {.eta = eta},
              noise)
      .item<double>();
}

// Uniform in log-SNR from a = s/100 to a = 100 s.
std::vector<Level> geometric(int64_t steps) {
  std::vector<Level> levels;
  for (int64_t i = 0; i <= steps; ++i) {
    const double lambda = std::log(100.) * (2. * i / steps - 1);
    levels.push_back({1 / std::sqrt(1 + std::exp(-2 * lambda)),
                      1 / std::sqrt(1 + std::exp(2 * lambda)), static_cast<double>(steps - i)});
  }
  return levels;
}

}  // namespace

// Sums over the ramp that diffusers' own scheduler tests publish, or that its code gives.
TEST(Ddim, ReproducesThePublishedSums) {
  ProcessOptions o;
  EXPECT_NEAR(ramp_sum(o), 172.0067, 1e-3);
  o.prediction_type = "v_prediction";
  EXPECT_NEAR(ramp_sum(o), 52.5302, 1e-3);
  o = {};
  o.beta_start = 0.01;
  EXPECT_NEAR(ramp_sum(o), 149.8295, 1e-3);
  o.set_alpha_to_one = false;
  EXPECT_NEAR(ramp_sum(o), 149.0784, 1e-3);
  o = {};
  o.timestep_spacing = "trailing";
  EXPECT_NEAR(ramp_sum(o), 170.0350, 1e-3);
  o.timestep_spacing = "linspace";  // along its own list, where diffusers steps by T//N: 191.254
  EXPECT_NEAR(ramp_sum(o), 169.464, 1e-3);
}

TEST(Ddim, ReproducesThePublishedSumFromTheMiddleOfTheWay) {
  const Process process{ProcessOptions{}};
  std::vector<Level> levels = process.levels(10);
  levels.erase(levels.begin(), levels.begin() + 8);
  ASSERT_EQ(levels.front().t, 100);
  const Tensor reversed = (at::arange(768, at::kFloat).flip(0) / 768).view({3, 8, 8, 4});
  const Tensor x =
      process.add_noise(ramp(), reversed.permute({3, 0, 1, 2}), at::full({4}, 100, at::kLong));
  ReplayedNoise none({}, {});
  const Tensor out = ddim(process.denoiser(ramp_network), x, levels, {}, none);
  EXPECT_NEAR(out.abs().sum().item<double>(), 354.5415, 1e-3);
}

// With X = 0 and noise 1 a step gives sigma; with E = 1 and noise 1, sigma + the factor of eps.
// DDIM Eq. 12, 16
TEST(Ddim, StepsByTheReferenceCoefficients) {
  struct Row {
    int64_t t, p;
    double sigma, direction;
  };
  for (const Row& r : {Row{999, 998, 0.141421297994894, 0.989928701744251},
                       Row{980, 960, 0.569741376305939, 0.821770862875475},
                       Row{499, 399, 0.722311091529724, 0.532090445431701},
                       Row{20, 0, 0.00992036102998014, 0.0012595384213478}, Row{99, -1, 0, 0}}) {
    SCOPED_TRACE(r.t);
    EXPECT_NEAR(step(r.t, r.p, 0, 0, 1), r.sigma, 1e-11 * r.sigma);
    EXPECT_NEAR(step(r.t, r.p, 0, 1, 1) - r.sigma, r.direction, 1e-11);
  }
  EXPECT_NEAR(step(499, 399, 0, 0, 0.5), 0.5 * 0.722311091529724, 1e-12);
}

// DDIM Eq. 12
TEST(Ddim, WithoutNoiseMovesToTheNextLevelOfItsEstimate) {
  const Schedule schedule(make_betas({}));
  const Level next = schedule.level(399);
  EXPECT_DOUBLE_EQ(step(499, 399, 0.3, -0.8, 0), next.alpha * 0.3 + next.sigma * -0.8);
  EXPECT_DOUBLE_EQ(step(499, -1, 0.3, -0.8, 0), 0.3);
}

TEST(Ddim, ExactDenoiserAgreesWithFortyDigits) {
  const Denoiser denoise =
      mixture_denoiser({{1}, at::full({1, 1, 1, 1}, 0.3, at::kDouble), {0.25}});
  const Process process{ProcessOptions{}};
  ReplayedNoise none({}, {});
  const Tensor x = ddim(denoise, scalar(1.2), process.levels(10, "trailing"), {}, none);
  EXPECT_NEAR(x.item<double>(), 0.74324069429073, 1e-11);
}

TEST(Ddim, IsOfFirstOrder) {
  const Denoiser denoise =
      mixture_denoiser({{0.3, 0.7},
                        at::tensor({-0.6, 0.2, 0.5, -0.1}, at::kDouble).view({2, 1, 1, 2}),
                        {0.04, 0.09}});
  const Tensor start = at::tensor({0.4, -1.1, -0.7, 0.2, 1.5, 0.9}, at::kDouble).view({3, 1, 1, 2});
  ReplayedNoise none({}, {});
  const auto run = [&](int64_t steps) { return ddim(denoise, start, geometric(steps), {}, none); };
  const Tensor truth = run(16384);
  const auto error = [&](int64_t steps) { return (run(steps) - truth).norm().item<double>(); };
  const double coarse = error(64), middle = error(128), fine = error(256);
  EXPECT_LT(fine, 0.02);
  EXPECT_NEAR(coarse / middle, 2, 0.25);
  EXPECT_NEAR(middle / fine, 2, 0.15);
}

TEST(Ddim, ClippingKeepsEpsUnlessToldToDeriveItAgain) {
  ProcessOptions options;
  const Process process(options);
  const Level at = process.schedule().level(500), next = process.schedule().level(250);
  const Denoiser denoise = process.denoiser([](const Tensor& x, const Tensor&) { return -2 * x; });
  ReplayedNoise none({}, {});
  const double x = 0.9, eps = -1.8;
  ASSERT_GT((x - at.sigma * eps) / at.alpha, 1);  // so x_0 is cut to 1
  const auto run = [&](bool rederive) {
    return ddim(denoise, scalar(x), {at, next}, {.rederive_eps = rederive}, none).item<double>();
  };
  EXPECT_NEAR(run(false), next.alpha * 1 + next.sigma * eps, 1e-12);
  EXPECT_NEAR(run(true), next.alpha * 1 + next.sigma * (x - at.alpha * 1) / at.sigma, 1e-12);
}

// DDIM Eq. 16
TEST(Ddim, EtaOneIsTheAncestralChainOfFixedSmall) {
  for (const bool clip : {false, true}) {
    ProcessOptions options;
    options.clip_sample = clip;
    const Process process(options);
    const Denoiser denoise = process.denoiser([](const Tensor& x, const Tensor& t) {
      return 0.7 * x + (t / 400).sin().view({-1, 1, 1, 1});
    });
    const std::vector<Level> levels = process.levels(25, "trailing");
    const Tensor start = SeededNoise(1, 0, {2, 3, 4, 4}).init().to(at::kDouble);
    SeededNoise one(2, 0, {2, 3, 4, 4}), other(2, 0, {2, 3, 4, 4});
    const Tensor a = ddim(denoise, start, levels, {.eta = 1, .rederive_eps = true}, one);
    const Tensor b = ddpm(denoise, start, levels, {}, other);
    EXPECT_LT((a - b).abs().max().item<double>(), 1e-9 * b.abs().max().item<double>())
        << (clip ? "clipped" : "unclipped");
  }
}

TEST(Ddim, DrawsOnEveryStepWithEtaAndNeverWithout) {
  const Process process{ProcessOptions{}};
  CountedOnes noise({1, 1, 1, 1});
  ddim(constant(0, 0), scalar(0), process.levels(7), {.eta = 0}, noise);
  EXPECT_EQ(noise.draws, 0);
  ddim(constant(0, 0), scalar(0), process.levels(7), {.eta = 0.3}, noise);
  EXPECT_EQ(noise.draws, 7);
}

TEST(Ddim, RefusesAnEtaOutsideZeroToOne) {
  const Process process{ProcessOptions{}};
  CountedOnes noise({1, 1, 1, 1});
  for (const double eta : {-0.1, 1.1, std::nan("")})
    EXPECT_THROW(ddim(constant(0, 0), scalar(0), process.levels(7), {.eta = eta}, noise), Error);
}

}  // namespace tweedie

#include "tweedie/train/learned_schedule.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

GaussianMixture images() {
  const Tensor t = at::arange(48, at::kDouble).view({3, 1, 4, 4});
  return {{1, 2, 1}, 0.7 * (1.3 * t).sin(), {0.04, 0.01, 0.02}};
}

EpsAt exact_eps() {
  return [](const Tensor& x, const Tensor& alpha, const Tensor& sigma) {
    return mixture_estimate(images(), x, alpha, sigma).eps;
  };
}

struct Bound {
  double nats;      // a dimension
  double variance;  // of T times the L_(t-1) of a step drawn uniformly: the estimate for one
                    // example
};

// DDPM Eq. 5 step by step, from the betas, with the exact denoiser; N(x_0; X, r_1^2 I) decodes.
Bound bound_of(const std::vector<double>& betas) {
  const Schedule schedule(betas);
  const Tensor x0 = mixture_draw(images(), 500, Rng(100));
  const double D = 16, steps = static_cast<double>(betas.size());
  const Denoiser denoise = mixture_denoiser(images());
  auto generator = at::detail::createCPUGenerator(6);
  const Level last = schedule.level(schedule.size() - 1);
  const double var = last.sigma * last.sigma;
  double total =
      ((last.alpha * x0).square() + var - 1 - std::log(var)).sum().item<double>() / 2 / 500;
  double first = 0, second = 0;
  for (int64_t k = 0; k < schedule.size(); ++k) {
    const Level at = schedule.level(k);
    const Tensor eps = at::randn(x0.sizes(), generator, x0.options());
    const Tensor off = x0 - denoise(at.alpha * x0 + at.sigma * eps, at).x0;
    const double r = at.sigma / at.alpha;
    const Posterior q = posterior(at, schedule.level(k - 1));
    const double factor = k == 0 ? 1 / (2 * r * r) : q.c0 * q.c0 / (2 * q.variance);
    const Tensor term = factor * off.square().flatten(1).sum(1);
    if (k == 0) total += D / 2 * std::log(2 * std::numbers::pi * r * r);
    total += term.mean().item<double>();
    if (k == 0) continue;
    first += term.mean().item<double>();
    second += steps * term.square().mean().item<double>();
  }
  return {total / D, (second - first * first) / (D * D)};
}

LearnedScheduleOptions small() {
  return {.num_train_timesteps = 20, .g0 = -4, .g1 = 3, .width = 4};
}

}  // namespace

TEST(LearnedSchedule, BeatsTheLinearOneOnTheMixture) {
  const LearnedSchedule learned = learn_schedule(
      exact_eps(), [](int64_t n, Rng rng) { return mixture_draw(images(), n, rng); }, {.seed = 1},
      1500, 64, 0.03);
  const Bound linear = bound_of(make_betas({})), trained = bound_of(learned.trained_betas());
  const double entropy =
      -mixture_log_density(images(), mixture_draw(images(), 500, Rng(100))).mean().item<double>();
  std::printf(
      "nats/dim of the bound, variance of its estimate: linear %.4f, %.4f; learned %.4f, %.4f; "
      "-ln p itself %.4f\n",
      linear.nats, linear.variance, trained.nats, trained.variance, entropy / 16);
  EXPECT_LE(trained.nats, linear.nats);
  EXPECT_GE(trained.nats, entropy / 16);
  EXPECT_LT(trained.variance, linear.variance / 20);
}

TEST(LearnedSchedule, BetasHoldTheNetworksSnr) {
  const LearnedSchedule learned({.g0 = -13, .g1 = 9, .seed = 3});
  const std::vector<double> betas = learned.trained_betas();
  ASSERT_EQ(betas.size(), 1000u);
  const Schedule schedule(betas);
  const Tensor log_snr = learned.log_snr(at::arange(1, 1001, at::kDouble) / 1000);
  for (const int64_t k : {0, 1, 10, 499, 998, 999}) {
    const double expected = log_snr[k].item<double>();
    const double snr = schedule.alpha_cumprod(k) / schedule.one_minus_alpha_cumprod(k);
    EXPECT_NEAR(std::log(snr), expected, 1e-9) << k;
  }
  EXPECT_NEAR(log_snr[999].item<double>(), -9, 1e-12);
}

TEST(LearnedSchedule, DrawsEveryStratumOnce) {
  const LearnedSchedule schedule(small());
  for (const double u : {0.013, 0.31, 0.512, 0.99}) {
    const Tensor steps = std::get<0>(schedule.draw(20, u).step.sort());
    EXPECT_TRUE(at::equal(steps, at::arange(1, 21))) << u;
  }
  const ScheduleDraw at = schedule.draw(7, 0.3);
  EXPECT_TRUE(at::allclose(at.alpha.square() + at.sigma.square(), at::ones({7}, at::kDouble)));
}

// The terms of 20 examples, one at each step, are the bound's: plainly recomputed from the betas.
TEST(LearnedSchedule, TermsAreTheBoundOfItsChain) {
  const at::NoGradGuard no_grad;
  const LearnedSchedule learned(small());
  const Schedule schedule(learned.trained_betas());
  const Level first = schedule.level(0), last = schedule.level(19);
  const double r1 = first.sigma / first.alpha, var = last.sigma * last.sigma;
  const Tensor x0 = at::linspace(-1, 1, 60, at::kDouble).view({20, 3});
  const Tensor error = at::linspace(1, 3, 20, at::kDouble);
  const ScheduleDraw at = learned.draw(20, 0.01);
  const ScheduleTerms terms = learned.terms(at, x0, error);
  for (int64_t j = 0; j < 20; ++j) {
    const int64_t k = at.step[j].item<int64_t>() - 1;
    const Level here = schedule.level(k);
    EXPECT_NEAR(at.alpha[j].item<double>(), here.alpha, 1e-12);
    const double of_x0 = error[j].item<double>() * std::pow(here.sigma / here.alpha, 2);
    const Posterior q = posterior(here, schedule.level(k - 1));
    const double expected = k == 0 ? 0 : 20 * of_x0 * q.c0 * q.c0 / (2 * q.variance);
    EXPECT_NEAR(terms.diffusion[j].item<double>(), expected, 1e-9 * expected);
    const Tensor mean = last.alpha * x0[j];
    const double prior = ((mean.square() + var - 1 - std::log(var)) / 2).sum().item<double>();
    EXPECT_NEAR(terms.prior[j].item<double>(), prior, 1e-10);
    // The mean over x_1 of -ln N(x_0; x_1/alpha_1, r_1^2 I): the Gaussian's entropy.
    const double entropy = 1.5 * std::log(2 * std::numbers::pi * std::numbers::e * r1 * r1);
    EXPECT_NEAR(terms.decoder[j].item<double>(), entropy, 1e-10);
  }
}

// Adam's first step is the learning rate against the gradient's sign, whatever its size: here of
// finite differences of the very loss that each parameter is to follow.
TEST(LearnedSchedule, EndsFollowTheBoundAndTheShapeItsVariance) {
  LearnedSchedule schedule(small());
  const Tensor x0 = mixture_draw(images(), 16, Rng(2));
  const Tensor eps = at::randn(x0.sizes(), at::detail::createCPUGenerator(3), x0.options());
  const auto losses = [&] {
    const ScheduleDraw at = schedule.draw(16, 0.4);
    const Tensor x = at.alpha.view({-1, 1, 1, 1}) * x0 + at.sigma.view({-1, 1, 1, 1}) * eps;
    const Tensor off = eps - exact_eps()(x, at.alpha, at.sigma);
    return schedule.terms(at, x0, off.square().flatten(1).sum(1));
  };
  TensorMap state = schedule.state();
  std::map<std::string, int> signs;
  for (const char* name : {"g0", "g1", "skip", "slope", "bias", "height"}) {
    const at::NoGradGuard no_grad;
    Tensor first = state.at(name).flatten().narrow(0, 0, 1);
    const double before = first.item<double>(), h = 1e-5;
    const auto loss_at = [&](double value) {
      first.fill_(value);
      const ScheduleTerms terms = losses();
      return (name[0] == 'g' ? terms.total() : terms.diffusion.square()).mean().item<double>();
    };
    const double slope = loss_at(before + h) - loss_at(before - h);
    first.fill_(before);
    ASSERT_NE(slope, 0) << name;
    signs[name] = slope > 0 ? 1 : -1;
  }
  const auto value = [&](const char* name) { return state.at(name).flatten()[0].item<double>(); };
  std::map<std::string, double> before;
  for (const auto& [name, sign] : signs) before[name] = value(name.c_str());
  schedule.step(losses(), 1e-3);
  for (const auto& [name, sign] : signs)
    EXPECT_NEAR(value(name.c_str()) - before[name], -1e-3 * sign, 1e-5) << name;
}

TEST(LearnedSchedule, GoesOnExactlyFromItsState) {
  const auto step = [](LearnedSchedule& schedule, int64_t k) {
    const Tensor x0 = at::full({8, 2}, 0.5, at::kDouble);
    const ScheduleDraw at = schedule.draw(8, 0.1 * static_cast<double>(k));
    schedule.step(schedule.terms(at, x0, 1 + at.alpha), 0.01);
  };
  LearnedSchedule straight(small()), stopped(small());
  for (int64_t k = 0; k < 6; ++k) step(straight, k);
  for (int64_t k = 0; k < 3; ++k) step(stopped, k);
  LearnedScheduleOptions other = small();
  other.seed = 9;
  LearnedSchedule resumed(other);
  resumed.load(stopped.state(), "here");
  for (int64_t k = 3; k < 6; ++k) step(resumed, k);
  EXPECT_EQ(resumed.trained_betas(), straight.trained_betas());
  TensorMap lacking = stopped.state();
  lacking.erase("bias");
  EXPECT_EQ(message_of([&] { resumed.load(lacking, "here"); }), "[train] here: bias is missing");
}

// Levels far apart cost nothing to find again, levels close together what the density costs.
// VDM Eq. 8.
TEST(LearnedSchedule, LevelsAreFoundAgainByTheirDistance) {
  const at::NoGradGuard no_grad;
  const Tensor x0 = at::zeros({1, 3}, at::kDouble), none = at::zeros({1}, at::kDouble);
  const auto decoder = [&](double g0, double width) {
    const LearnedSchedule schedule(
        {.num_train_timesteps = 20, .g0 = g0, .g1 = 9, .level_width = width});
    const ScheduleDraw at = schedule.draw(1, 0.5);
    const double r =
        std::exp(-schedule.log_snr(at::full({1}, 1. / 20, at::kDouble)).item<double>() / 2);
    return std::pair(schedule.terms(at, x0, none).decoder.item<double>() / 3, r);
  };
  EXPECT_LT(decoder(-13, 0.1).first, 1e-6);
  const auto [fine, r] = decoder(-5, 1e-3);
  EXPECT_NEAR(fine, std::log(std::sqrt(2 * std::numbers::pi * std::numbers::e) * r / 1e-3), 1e-3);
  // One level to each side, by the plain sum over eps.
  const auto [middle, s] = decoder(-9, 3 * std::exp(-4.5));
  double expected = 0, mass = 0;
  for (double eps = -6; eps <= 6; eps += 1e-3) {
    double sum = 0;
    for (int l = -6; l <= 6; ++l)
      sum += std::exp(-std::pow(s * eps - 3 * std::exp(-4.5) * l, 2) / (2 * s * s));
    const double w = std::exp(-eps * eps / 2);
    expected += w * (eps * eps / 2 + std::log(sum)), mass += w;
  }
  EXPECT_NEAR(middle, expected / mass, 1e-4);
}

TEST(LearnedSchedule, RefusesOptionsOutOfRange) {
  EXPECT_TRUE(contains(message_of([] { LearnedSchedule({.g0 = 3, .g1 = -3}); }), "3 to -3"));
  EXPECT_TRUE(contains(message_of([] { LearnedSchedule({.num_train_timesteps = 1}); }),
                       "num_train_timesteps"));
}

}  // namespace tweedie

// The proofs of docs/errata.md: DDIM, strided chains and multistep solvers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/samplers/ramp.h"
#include "tests/support/verdict.h"
#include "tweedie/process/posterior.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {
namespace {

using testing::expect_verdict;
using testing::integral;
using testing::Moments;
using testing::moments;
using testing::normal;
using testing::square;

const Schedule& linear() {
  static const Schedule schedule(make_betas({}));
  return schedule;
}

double product(int64_t k) {  // of 1 - beta over the steps of the chain 0..k
  double abar = 1;
  for (int64_t i = 0; i <= k; ++i) abar *= 1 - linear().beta(i);
  return abar;
}

// q(x_p | x_t, x_0) by Bayes' rule on a grid.
Moments bayes(int64_t t, int64_t p, double x0, double x) {
  const double kept = product(t) / product(p), abar = product(p);
  return moments(
      [&](double y) {
        return normal(x, std::sqrt(kept) * y, 1 - kept) * normal(y, std::sqrt(abar) * x0, 1 - abar);
      },
      -12, 12);
}

// The numbers that one step of ddim makes of n equal ones.
Tensor ddim_step(int64_t t, int64_t p, double x0, double eps, double eta, int64_t n = 1) {
  SeededNoise noise(1, 0, {n, 1, 1, 1});
  return ddim(constant(x0, eps), at::zeros({n, 1, 1, 1}, at::kDouble),
              {linear().level(t), linear().level(p)}, {.eta = eta}, noise);
}

}  // namespace

TEST(Errata, DdimLandsOnTheLevelItGoesTo) {  // DDIM Eq. 12
  // One point of data and its exact noise: the step must find the same pair at level p.
  const double x0 = 0.3, eps = -0.8;
  const auto at_level = [&](int64_t k) {
    return std::sqrt(product(k)) * x0 + std::sqrt(1 - product(k)) * eps;
  };
  const double truth = at_level(399);
  const double old_signal = std::sqrt(product(499)) * x0 + std::sqrt(1 - product(399)) * eps;
  expect_verdict(truth, ddim_step(499, 399, x0, eps, 0).item<double>(), old_signal, 1e-12, 0.04);
  // On a list with gaps "t - 1" is the entry that follows, not the step before.
  expect_verdict(truth, ddim_step(499, 399, x0, eps, 0).item<double>(), at_level(498), 1e-12, 0.05);
}

TEST(Errata, DdimNoiseIsEtaTimesAStandardDeviation) {  // DDIM Eq. 16
  const int64_t n = 20000, t = 499, p = 498;
  const double variance = bayes(t, p, 0.3, 0.4).variance, eta = 0.5;
  const double measured = ddim_step(t, p, 0, 0, eta, n).var().item<double>();
  const double error = 4 * measured * std::sqrt(2.0 / n);
  expect_verdict(measured, square(eta) * variance, eta * variance, error, 0.002);
  expect_verdict(measured, square(eta) * variance, square(square(eta) * variance), error, 0.002);
}

TEST(Errata, AStridedStepHasTheVarianceOfItsOwnTwoLevels) {  // DDIM Eq. 16
  const int64_t t = 499, p = 399;
  const double truth = bayes(t, p, 0.3, 0.4).variance;
  const double shrink = (1 - product(p)) / (1 - product(t));
  const double right = shrink * (1 - product(t) / product(p));
  expect_verdict(truth, right, shrink * linear().beta(t), 1e-9, 0.5);
  EXPECT_NEAR(posterior(linear().level(t), linear().level(p)).variance, truth, 1e-9);
}

TEST(Errata, TheThirdOrderMultistepTermHasAFactorTwo) {  // DPM++ Sec. 4
  // x_0 quadratic in the log-SNR lambda: the exact step is an integral, DPM++ Prop. 4.1.
  const auto x0 = [](double lambda) { return 1 + 0.5 * lambda - 0.3 * lambda * lambda; };
  const double l2 = -1, l1 = -0.4, l0 = 0.1, next = 0.8, h = next - l0;
  const double truth = integral([&](double l) { return std::exp(l - next) * x0(l); }, l0, next);
  const double phi1 = std::expm1(-h), phi2 = phi1 / h + 1, phi3 = phi2 / h - 0.5;
  const double q1 = (l0 - l1) / h, q2 = (l1 - l2) / h;
  const double d0 = (x0(l0) - x0(l1)) / q1, d1 = (x0(l1) - x0(l2)) / q2;
  const double slope = d0 + (d0 - d1) * q1 / (q1 + q2), bend = (d0 - d1) / (q1 + q2);
  const auto step = [&](double factor) {
    return -phi1 * x0(l0) + phi2 * slope - phi3 * factor * bend;
  };
  expect_verdict(truth, step(2), step(1), 1e-12, 0.01);
  // dpmpp_3m itself, from x = 0 with these three estimates; by diffusers' rules without the factor.
  const auto level = [](double lambda) {
    const double alpha = 1 / std::sqrt(1 + std::exp(-2 * lambda));
    return Level{alpha, alpha * std::exp(-lambda), -1};
  };
  const Denoiser quadratic = [&](const Tensor& x, const Level& at) {
    return Estimate{at::full_like(x, x0(std::log(at.alpha / at.sigma))), {}, {}};
  };
  for (const auto& [rules, expected] : {std::pair("paper", truth), {"diffusers", step(1)}}) {
    SamplerOptions options{.lower_order_final = false, .rules = rules};
    options.history = {{level(l1), scalar(x0(l1)), {}}, {level(l2), scalar(x0(l2)), {}}};
    CountedOnes none({1, 1, 1, 1});
    const Tensor found = dpmpp_3m(quadratic, scalar(0), {level(l0), level(next)}, options, none);
    EXPECT_NEAR(found.item<double>() / level(next).alpha, expected, 1e-12) << rules;
  }
}

}  // namespace tweedie

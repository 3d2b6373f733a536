#include "tweedie/process/gaussian.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/rng.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

Tensor scalar(double x) { return at::full({1, 1}, x, at::kDouble); }
Gaussian gaussian(double mean, double variance) {
  return {scalar(mean), scalar(std::log(variance))};
}

double density(double x, double mean, double variance) {
  return std::exp(-(x - mean) * (x - mean) / (2 * variance)) /
         std::sqrt(2 * std::numbers::pi * variance);
}

// Of f over the whole line, as far as a Gaussian of standard deviation 1 or less near 0 reaches.
template <class Function>
double integral(Function f) {
  const double step = 1e-3;
  double sum = 0;
  for (double x = -15; x <= 15; x += step) sum += f(x) * step;
  return sum;
}

}  // namespace

TEST(Gaussian, KlDivergenceIsTheIntegralOfPLogPOverQ) {
  const double expected = integral([](double x) {
    const double p = density(x, 0.3, 0.2), q = density(x, -0.4, 0.7);
    return p > 0 ? p * std::log(p / q) : 0;
  });
  const Tensor kl = kl_divergence(gaussian(0.3, 0.2), gaussian(-0.4, 0.7));
  EXPECT_NEAR(kl.item<double>(), expected, 1e-10);
}

TEST(Gaussian, KlDivergenceIsZeroForEqualsAndNeverBelow) {
  EXPECT_EQ(kl_divergence(gaussian(0.3, 0.2), gaussian(0.3, 0.2)).item<double>(), 0);
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    const double near = i % 2 ? 1e-9 : 1;
    const double m = rng.normal(), l = rng.normal();
    const Gaussian p{scalar(m), scalar(l)};
    const Gaussian q{scalar(m + near * rng.normal()), scalar(l + near * rng.normal())};
    EXPECT_GE(kl_divergence(p, q).item<double>(), 0);
  }
}

TEST(Gaussian, EntropyIsTheIntegralOfMinusPLogP) {
  const double expected = integral([](double x) {
    const double p = density(x, 0.5, 0.3);
    return p > 0 ? -p * std::log(p) : 0;
  });
  EXPECT_NEAR(entropy(gaussian(0.5, 0.3)).item<double>(), expected, 1e-10);
}

TEST(Gaussian, LogDensityIsThatOfTheNormalDistribution) {
  EXPECT_NEAR(log_density(gaussian(0.5, 0.3), scalar(-0.2)).item<double>(),
              std::log(density(-0.2, 0.5, 0.3)), 1e-14);
}

TEST(Gaussian, ADrawHasTheMomentsAndPassesGradientsOn) {
  Tensor z = at::empty({200000}, at::kFloat);
  Rng(3).fill_normal(z.data_ptr<float>(), z.numel());
  const Tensor mean = scalar(0.7).requires_grad_(), log_variance = scalar(-1).requires_grad_();
  const Tensor x = draw({mean, log_variance}, z);
  EXPECT_NEAR(x.mean().item<double>(), 0.7, 0.006);
  EXPECT_NEAR(x.var().item<double>(), std::exp(-1), 0.006);
  x.square().mean().backward();  // E x^2 = mean^2 + e^l
  EXPECT_NEAR(mean.grad().item<double>(), 2 * 0.7, 0.01);
  EXPECT_NEAR(log_variance.grad().item<double>(), std::exp(-1), 0.01);
}

// prior x density of what is seen, normalised on a grid.
TEST(Gaussian, PosteriorIsBayesRule) {
  const double y = 1.1, gain = 0.8, noise = 0.15;
  const auto joint = [&](double x) { return density(x, -0.2, 0.5) * density(y, gain * x, noise); };
  const double mass = integral(joint);
  const double mean = integral([&](double x) { return x * joint(x); }) / mass;
  const double variance =
      integral([&](double x) { return (x - mean) * (x - mean) * joint(x); }) / mass;
  const Gaussian found = posterior(gaussian(-0.2, 0.5), scalar(y), gain, noise);
  EXPECT_NEAR(found.mean.item<double>(), mean, 1e-10);
  EXPECT_NEAR(found.log_variance.exp().item<double>(), variance, 1e-10);
}

// DDPM Eq. 7 is Bayes' rule for q(x_p|x_0) and one step from x_p to x_t.
TEST(Gaussian, TheChainsPosteriorIsBayesRuleToo) {
  const Schedule schedule(make_betas({}));
  const Level at = schedule.level(499), next = schedule.level(399);
  const double x0 = 0.6, x = -0.9;
  const Gaussian prior = gaussian(next.alpha * x0, next.sigma * next.sigma);
  const Gaussian found =
      posterior(prior, scalar(x), at.alpha / next.alpha, step_variance(at, next));
  const Posterior q = posterior(at, next);
  EXPECT_NEAR(found.mean.item<double>(), q.c0 * x0 + q.c1 * x, 1e-13);
  EXPECT_NEAR(found.log_variance.exp().item<double>(), q.variance, 1e-13);
}

TEST(Gaussian, BitsAreNatsOverLnTwoAveragedOverAnExample) {
  const Tensor nats = at::tensor({1., 3., 0., 4.}, at::kDouble).view({2, 1, 1, 2});
  const Tensor bits = bits_per_dim(nats);
  EXPECT_NEAR(bits[0].item<double>(), 2 / std::log(2), 1e-15);
  EXPECT_NEAR(bits[1].item<double>(), 2 / std::log(2), 1e-15);
}

}  // namespace tweedie

#include "tweedie/process/mixture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/error.h"
#include "tweedie/process/schedule.h"

namespace tweedie {
namespace {

Level middle() { return Schedule(make_betas({})).level(499); }

Tensor column(std::vector<double> values) { return at::tensor(values, at::kDouble).view({-1, 1}); }

}  // namespace

TEST(Mixture, PointMassesAgreeWithTheReference) {  // data {-1, .5}, x = .1, k = 499
  const Denoiser denoise = mixture_denoiser({{1, 1}, column({-1, 0.5}), {0, 0}});
  EXPECT_NEAR(denoise(column({0.1}), middle()).x0.item<double>(), -0.220906990541129, 1e-11);
}

TEST(Mixture, OneGaussianIsLinear) {  // m + a C (a^2 C + s^2)^-1 (x - a m)
  const Denoiser denoise = mixture_denoiser({{2}, column({0.3}), {0.25}});
  const double abar = 0.0785872428817782, a = std::sqrt(abar), x = 1.2;
  const double expected = 0.3 + a * 0.25 / (abar * 0.25 + 1 - abar) * (x - a * 0.3);
  EXPECT_NEAR(denoise(column({x}), middle()).x0.item<double>(), expected, 1e-12);
}

TEST(Mixture, IsThePosteriorMeanByQuadrature) {
  const std::vector<double> weights = {0.3, 0.7}, means = {-0.6, 0.4}, variances = {0.04, 0.09};
  const Denoiser denoise = mixture_denoiser({weights, column(means), variances});
  const Level at = middle();
  for (const double x : {-1.5, -0.2, 0.0, 0.8}) {
    double mass = 0, first = 0;
    for (double y = -4; y <= 4; y += 1e-4) {
      double prior = 0;
      for (int i = 0; i < 2; ++i)
        prior += weights[i] / std::sqrt(variances[i]) *
                 std::exp(-(y - means[i]) * (y - means[i]) / (2 * variances[i]));
      const double off = x - at.alpha * y;
      const double w = prior * std::exp(-off * off / (2 * at.sigma * at.sigma));
      mass += w, first += w * y;
    }
    EXPECT_NEAR(denoise(column({x}), at).x0.item<double>(), first / mass, 1e-10) << x;
  }
}

TEST(Mixture, EpsIsWhatIsLeft) {
  const Denoiser denoise = mixture_denoiser({{1, 2}, at::rand({2, 1, 2, 2}), {0.1, 0.2}});
  const Tensor x = at::randn({3, 1, 2, 2});
  const Level at = middle();
  const Estimate e = denoise(x, at);
  EXPECT_EQ(e.x0.sizes(), x.sizes());
  EXPECT_TRUE((at.alpha * e.x0 + at.sigma * e.eps).allclose(x, 1e-5, 1e-6));
}

TEST(Mixture,
     SurvivesManyDimensionsAndLittleNoise) {  // densities underflow, their logarithms do not
  const Tensor points = at::rand({3, 3, 16, 16}) * 2 - 1;
  const Denoiser denoise = mixture_denoiser({{1, 1, 1}, points, {0, 0, 0}});
  const Estimate e = denoise(points.narrow(0, 1, 1) + 1e-3, Schedule(make_betas({})).level(0));
  EXPECT_TRUE(e.x0.allclose(points.narrow(0, 1, 1)));
}

TEST(Mixture, RefusesWhatIsNoMixture) {
  EXPECT_THROW(mixture_denoiser({{1}, column({0, 1}), {1}}), Error);
  EXPECT_THROW(mixture_denoiser({{1, 1}, column({0, 1}), {1}}), Error);
  EXPECT_THROW(mixture_denoiser({{1, 0}, column({0, 1}), {1, 1}}), Error);
  EXPECT_THROW(mixture_denoiser({{1, 1}, column({0, 1}), {1, -1}}), Error);
  EXPECT_THROW(mixture_denoiser({{}, Tensor(), {}}), Error);
}

TEST(Mixture, DensityIsTheConvolutionByQuadrature) {
  const std::vector<double> weights = {3, 7}, means = {-0.6, 0.4}, variances = {0.04, 0.09};
  const auto normal = [](double x, double variance) {
    return std::exp(-x * x / (2 * variance)) / std::sqrt(2 * std::numbers::pi * variance);
  };
  const Level at = middle();
  for (const double x : {-1.5, -0.2, 0.0, 0.8}) {
    double density = 0;
    for (double y = -4; y <= 4; y += 1e-4)
      for (int i = 0; i < 2; ++i)
        density += weights[i] / 10 * normal(y - means[i], variances[i]) *
                   normal(x - at.alpha * y, at.sigma * at.sigma) * 1e-4;
    const GaussianMixture mixture{weights, column(means), variances};
    EXPECT_NEAR(mixture_log_density(mixture, column({x}), at).item<double>(), std::log(density),
                1e-10);
  }
  const Tensor far = at::full({1, 1, 16, 16}, 40.0);  // ln N(40; 0, 1) of 256 scalars
  const double expected = 256 * (-800 - 0.5 * std::log(2 * std::numbers::pi));
  EXPECT_NEAR(mixture_log_density({{1}, at::zeros({1, 1, 16, 16}), {1}}, far).item<double>(),
              expected, 1e-8);
  EXPECT_THROW(mixture_log_density({{1}, column({0}), {0}}, column({0})), Error);
}

TEST(Mixture, ALevelForEachExampleIsThatOfTheDenoiser) {
  const GaussianMixture mixture{{1, 2}, at::rand({2, 1, 2, 2}, at::kDouble), {0.1, 0.2}};
  const Schedule schedule(make_betas({}));
  const Tensor x = at::randn({3, 1, 2, 2}, at::kDouble);
  std::vector<double> alpha, sigma;
  for (const int64_t k : {10, 500, 999}) {
    alpha.push_back(schedule.level(k).alpha);
    sigma.push_back(schedule.level(k).sigma);
  }
  const Estimate all =
      mixture_estimate(mixture, x, at::tensor(alpha, at::kDouble), at::tensor(sigma, at::kDouble));
  for (int64_t i = 0; i < 3; ++i) {
    const Estimate one =
        mixture_denoiser(mixture)(x.narrow(0, i, 1), {alpha.at(i), sigma.at(i), 0});
    EXPECT_TRUE(all.x0[i].allclose(one.x0[0], 1e-12));
    EXPECT_TRUE(all.eps[i].allclose(one.eps[0], 1e-12));
  }
}

TEST(Mixture, ScoreIsTheGradientOfTheDensity) {  // E[eps | x_t] = -sigma grad ln q_t
  const GaussianMixture mixture{{1, 2}, column({-0.5, 0.7}), {0.1, 0.02}};
  const Level at = middle();
  const double h = 1e-5, x = 0.3;
  const auto density = [&](double place) {
    return mixture_log_density(mixture, column({place}), at).item<double>();
  };
  const double slope = (density(x + h) - density(x - h)) / (2 * h);
  const double eps = mixture_denoiser(mixture)(column({x}), at).eps.item<double>();
  EXPECT_NEAR(eps, -at.sigma * slope, 1e-8);
}

TEST(Mixture, DrawsHaveItsWeightsMeansAndVariances) {
  const GaussianMixture mixture{{1, 3}, column({-2, 2}), {0.01, 0.09}};
  const int64_t n = 40000;
  const Tensor x = mixture_draw(mixture, n, Rng(1)).flatten();
  const Tensor high = x.masked_select(x > 0), low = x.masked_select(x < 0);
  const double count = static_cast<double>(high.numel());
  EXPECT_NEAR(count / n, 0.75, 4 * std::sqrt(0.75 * 0.25 / n));
  EXPECT_NEAR(high.mean().item<double>(), 2, 4 * std::sqrt(0.09 / count));
  EXPECT_NEAR(high.var().item<double>(), 0.09, 4 * 0.09 * std::sqrt(2 / count));
  EXPECT_NEAR(low.var().item<double>(), 0.01, 4 * 0.01 * std::sqrt(2 / (n - count)));
  EXPECT_TRUE(at::equal(x, mixture_draw(mixture, n, Rng(1)).flatten()));
}

}  // namespace tweedie

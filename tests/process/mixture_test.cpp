#include "tweedie/process/mixture.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace tweedie

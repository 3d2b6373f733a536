#include "tweedie/process/posterior.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tweedie {
namespace {

Schedule linear() { return Schedule(make_betas({})); }

// Bayes' rule for two Gaussians, q(x_p|x_t,x_0) ~ q(x_t|x_p) q(x_p|x_0), on a grid of x_p.
void expect_bayes(const Schedule& schedule, int64_t t, int64_t p, double x0, double xt) {
  SCOPED_TRACE(formatted("{} -> {}", t, p));
  const double abar_t = schedule.alpha_cumprod(t), abar_p = schedule.alpha_cumprod(p);
  const double ratio = std::sqrt(abar_t / abar_p), beta = 1 - abar_t / abar_p;
  const double mean_p = std::sqrt(abar_p) * x0, var_p = 1 - abar_p;
  double mass = 0, first = 0, second = 0;
  for (double x = -12; x <= 12; x += 2e-4) {
    const double log_q = -(xt - ratio * x) * (xt - ratio * x) / (2 * beta) -
                         (x - mean_p) * (x - mean_p) / (2 * var_p);
    const double w = std::exp(log_q);
    mass += w, first += w * x, second += w * x * x;
  }
  const double mean = first / mass, variance = second / mass - mean * mean;
  const Posterior q = posterior(schedule.level(t), schedule.level(p));
  EXPECT_NEAR(q.c0 * x0 + q.c1 * xt, mean, 1e-9);
  EXPECT_NEAR(q.variance, variance, 1e-9);
}

}  // namespace

// DDPM Eq. 6-7
TEST(Posterior, IsBayesRuleForNeighboursAndForStrides) {
  const Schedule s = linear();
  expect_bayes(s, 500, 499, 0.7, -0.4);
  expect_bayes(s, 999, 998, -0.3, 1.1);
  expect_bayes(s, 400, 100, 0.7, 0.9);
  expect_bayes(s, 60, 20, -1.0, -0.8);
}

TEST(Posterior, MeanFromEpsIsTheMeanFromX0) {
  const Schedule s = linear();
  for (const auto& [t, p] : {std::pair<int64_t, int64_t>{499, 498}, {700, 250}, {20, -1}}) {
    const Level at = s.level(t), next = s.level(p);
    const double x0 = 0.35, eps = -1.2, xt = at.alpha * x0 + at.sigma * eps;
    const Posterior q = posterior(at, next);
    const double mean = (xt - step_variance(at, next) / at.sigma * eps) * next.alpha / at.alpha;
    EXPECT_NEAR(q.c0 * x0 + q.c1 * xt, mean, 1e-12);
  }
}

TEST(Posterior, EndsAtX0Itself) {
  const Posterior q = posterior(linear().level(0), Level{});
  EXPECT_DOUBLE_EQ(q.c0, 1);
  EXPECT_EQ(q.c1, 0);
  EXPECT_EQ(q.variance, 0);
}

// VDM Sec. 3
TEST(Posterior, StepVarianceIsBetaBetweenNeighbours) {
  const Schedule s = linear();
  for (const int64_t k : {0, 1, 10, 499, 999})
    EXPECT_NEAR(step_variance(s.level(k), s.level(k - 1)) / s.beta(k), 1, 1e-11) << k;
}

// DDPM Eq. 7
TEST(Posterior, PublishedVariances) {  // the checks of diffusers' scheduler tests
  const Schedule s = linear();
  const auto variance = [&](int64_t t, int64_t p) {
    return posterior(s.level(t), s.level(p)).variance;
  };
  EXPECT_NEAR(variance(487, 486), 0.0097915, 1e-6);
  EXPECT_NEAR(variance(999, 998), 0.0199999, 1e-6);
  EXPECT_NEAR(variance(420, 400), 0.147719, 1e-6);
  EXPECT_NEAR(variance(980, 960), 0.324605, 1e-6);
}

}  // namespace tweedie

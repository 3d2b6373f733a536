#include "tweedie/nn/monotone.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tweedie/core/error.h"

namespace tweedie {

TEST(Monotone, RisesFromEndToEndWhateverItsParametersAre) {
  const at::NoGradGuard no_grad;
  Monotone g(-9, 7, 16, 1);
  const Tensor t = at::linspace(0, 1, 501, at::kDouble);
  for (int trial = 0; trial < 20; ++trial) {
    const Tensor at_t = g->forward(t);
    EXPECT_NEAR(at_t[0].item<double>(), -9, 1e-12);
    EXPECT_NEAR(at_t[-1].item<double>(), 7, 1e-12);
    EXPECT_GT(at_t.diff().min().item<double>(), 0);
    auto generator = at::detail::createCPUGenerator(trial);
    for (Tensor& p : g->shape()) p.copy_(3 * at::randn(p.sizes(), generator));
  }
}

TEST(Monotone, IsTheFormulaOfItsParameters) {
  const at::NoGradGuard no_grad;
  Monotone g(-2, 5, 2, 1);
  g->skip.fill_(0.3);
  g->slope.copy_(at::tensor({2.0, -1.0}, at::kDouble));
  g->bias.copy_(at::tensor({-1.5, 0.4}, at::kDouble));
  g->height.copy_(at::tensor({0.7, 1.1}, at::kDouble));
  const auto softplus = [](double x) { return std::log(1 + std::exp(x)); };
  const auto h = [&](double t) {
    const auto step = [&](double v, double u, double b) {
      return softplus(v) / (1 + std::exp(-softplus(u) * t - b));
    };
    return softplus(0.3) * t + step(0.7, 2, -1.5) + step(1.1, -1, 0.4);
  };
  for (const double t : {0.0, 0.2, 0.77, 1.0}) {
    const double expected = -2 + 7 * (h(t) - h(0)) / (h(1) - h(0));
    EXPECT_NEAR(g->forward(at::full({1}, t, at::kDouble)).item<double>(), expected, 1e-12);
  }
}

TEST(Monotone, RefusesEndsThatDoNotRise) {
  EXPECT_THROW(Monotone(1, 1, 4), Error);
  EXPECT_THROW(Monotone(1, INFINITY, 4), Error);
  EXPECT_THROW(Monotone(0, 1, 0), Error);
}

}  // namespace tweedie

#include "tweedie/metrics/runge_kutta.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tweedie {
namespace {

// The conditions for order 4 as the trees of Butcher have them; `order` of them must hold.
void expect_order(const std::vector<double>& nodes, int order) {
  const Tableau rk = tableau(nodes);
  const size_t s = nodes.size();
  std::vector<double> c, ac(s, 0), ac2(s, 0), aac(s, 0);
  for (const double node : nodes)
    c.push_back((node - nodes.front()) / (nodes.back() - nodes.front()));
  for (size_t i = 0; i < s; ++i) {
    EXPECT_NEAR(std::accumulate(rk.a[i].begin(), rk.a[i].end(), 0.), c[i], 1e-13);
    for (size_t j = 0; j < i; ++j) {
      ac[i] += rk.a[i][j] * c[j];
      ac2[i] += rk.a[i][j] * c[j] * c[j];
      aac[i] += rk.a[i][j] * ac[j];
    }
  }
  const auto sum = [&](auto term) {
    double total = 0;
    for (size_t i = 0; i < s; ++i) total += rk.b[i] * term(i);
    return total;
  };
  const double tolerance = 1e-12;
  EXPECT_NEAR(sum([&](size_t) { return 1; }), 1, tolerance);
  EXPECT_NEAR(sum([&](size_t i) { return c[i]; }), 1. / 2, tolerance);
  if (order < 3) return;
  EXPECT_NEAR(sum([&](size_t i) { return c[i] * c[i]; }), 1. / 3, tolerance);
  EXPECT_NEAR(sum([&](size_t i) { return ac[i]; }), 1. / 6, tolerance);
  if (order < 4) return;
  EXPECT_NEAR(sum([&](size_t i) { return c[i] * c[i] * c[i]; }), 1. / 4, tolerance);
  EXPECT_NEAR(sum([&](size_t i) { return c[i] * ac[i]; }), 1. / 8, tolerance);
  EXPECT_NEAR(sum([&](size_t i) { return ac2[i]; }), 1. / 12, tolerance);
  EXPECT_NEAR(sum([&](size_t i) { return aac[i]; }), 1. / 24, tolerance);
}

}  // namespace

TEST(RungeKutta, HasItsOrderForEverySpacing) {
  expect_order({0.3, 0.9}, 2);
  expect_order({0, 1, 2}, 3);
  expect_order({1, 1.2, 4}, 3);
  expect_order({0, 1, 2, 3}, 4);
  expect_order({1, 2, 4, 8}, 4);
  expect_order({0.01, 0.02, 0.05, 0.07}, 4);
}

TEST(RungeKutta, EqualSpacingIsKuttasThreeEighthsRule) {
  const Tableau rk = tableau({0, 1, 2, 3});
  const std::vector<double> b = {1. / 8, 3. / 8, 3. / 8, 1. / 8};
  const std::vector<double> last = {1, -1, 1};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(rk.b[i], b[i], 1e-14);
  for (size_t j = 0; j < 3; ++j) EXPECT_NEAR(rk.a[3][j], last[j], 1e-14);
}

TEST(RungeKutta, StepsCoverTheIntervals) {
  for (int64_t n = 2; n < 20; ++n) {
    const std::vector<int64_t> strides = rk_strides(n, 3);
    EXPECT_EQ(std::accumulate(strides.begin(), strides.end(), int64_t{0}), n);
    EXPECT_LE(std::count(strides.begin(), strides.end(), 2), 2);
    EXPECT_EQ(std::count(strides.begin(), strides.end(), 1), 0);
  }
  EXPECT_EQ(rk_strides(4, 1), (std::vector<int64_t>{1, 1, 1, 1}));
}

}  // namespace tweedie

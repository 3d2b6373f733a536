// What the tests of docs/errata.md share: quadrature, one truth, and a form that is right beside
// one that is not.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace tweedie::testing {

/// `right` is within `tolerance` of the truth and `wrong` is off by `gap` at least.
inline void expect_verdict(double truth, double right, double wrong, double tolerance, double gap) {
  EXPECT_LT(tolerance, gap);
  EXPECT_NEAR(right, truth, tolerance);
  EXPECT_GT(std::abs(wrong - truth), gap) << wrong << " is as good as " << truth;
}

inline double square(double x) { return x * x; }

/// Of N(mean, variance).
inline double log_normal(double x, double mean, double variance) {
  return -square(x - mean) / (2 * variance) - std::log(2 * std::numbers::pi * variance) / 2;
}
inline double normal(double x, double mean, double variance) {
  return std::exp(log_normal(x, mean, variance));
}

/// By Simpson's rule with 2n intervals.
template <class F>
double integral(F&& f, double from, double to, int n = 10000) {
  const double h = (to - from) / (2 * n);
  double sum = f(from) + f(to);
  for (int i = 1; i < 2 * n; ++i) sum += (i % 2 ? 4 : 2) * f(from + i * h);
  return sum * h / 3;
}

/// Of a density that need not add up to 1, and vanishes at both ends.
struct Moments {
  double mean, variance, excess_kurtosis;
};
template <class F>
Moments moments(F&& density, double from, double to, int n = 10000) {
  const auto about = [&](double centre, int power) {
    const auto term = [&](double x) { return density(x) * std::pow(x - centre, power); };
    return integral(term, from, to, n);
  };
  const double mass = about(0, 0), mean = about(0, 1) / mass, variance = about(mean, 2) / mass;
  return {mean, variance, about(mean, 4) / mass / square(variance) - 3};
}

template <class F>
double derivative(F&& f, double x, double h = 1e-4) {  // of fourth order
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

}  // namespace tweedie::testing

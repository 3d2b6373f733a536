// Mean and variance of numbers as they come.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

namespace tweedie {

/// Welford's recurrence: no sum of squares that cancels.
struct Moments {
  int64_t n = 0;
  double mean = 0, squares = 0;  ///< squares: sum of (x - mean)^2

  void add(double x) {
    const double off = x - mean;
    mean += off / static_cast<double>(++n);
    squares += off * (x - mean);
  }
  /// Unbiased; NaN for fewer than two numbers.
  double variance() const {
    return n < 2 ? std::numeric_limits<double>::quiet_NaN() : squares / static_cast<double>(n - 1);
  }
  double standard_error() const { return std::sqrt(variance() / static_cast<double>(n)); }
};

}  // namespace tweedie

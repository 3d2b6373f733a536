#include "tweedie/metrics/runge_kutta.h"

#include <algorithm>
#include <cmath>

namespace tweedie {
namespace {

// u: where the middle stage is, in (0,1).
Tableau third_order(double u) {
  const double b2 = 1 / (6 * u * (1 - u)), b3 = (2 - 3 * u) / (6 * (1 - u));  // HNW II.1
  const double a32 = 1 / (6 * b3 * u);                                        // HNW II.1
  return {{{}, {u}, {1 - a32, a32}}, {1 - b2 - b3, b2, b3}};
}

// u < v: where the two middle stages are. The weights integrate cubics; each a follows from
// sum_i b_i a_ij = b_j (1 - c_j) and the one condition that is left.
Tableau fourth_order(double u, double v) {
  const double b2 = (2 * v - 1) / (12 * u * (v - u) * (1 - u));             // HNW II.1
  const double b3 = (1 - 2 * u) / (12 * v * (v - u) * (1 - v));             // HNW II.1
  const double b4 = 0.5 + (2 * (u + v) - 3) / (12 * (1 - u) * (1 - v));     // HNW II.1
  const double a32 = 1 / (24 * b3 * u * (1 - v)), a43 = b3 * (1 - v) / b4;  // HNW II.1
  const double a42 = (b2 * (1 - u) - b3 * a32) / b4;                        // HNW II.1
  return {{{}, {u}, {v - a32, a32}, {1 - a42 - a43, a42, a43}}, {1 - b2 - b3 - b4, b2, b3, b4}};
}

}  // namespace

double Tableau::largest() const {
  double largest = 0;
  for (const double weight : b) largest = std::max(largest, std::abs(weight));
  for (const auto& row : a)
    for (const double weight : row) largest = std::max(largest, std::abs(weight));
  return largest;
}

Tableau tableau(const std::vector<double>& nodes) {
  const double h = nodes.back() - nodes.front();
  const auto place = [&](size_t i) { return (nodes[i] - nodes.front()) / h; };
  if (nodes.size() == 3) return third_order(place(1));
  if (nodes.size() == 4) return fourth_order(place(1), place(2));
  return {{{}, {1}}, {0.5, 0.5}};  // EDM Alg. 1
}

std::vector<int64_t> rk_strides(int64_t intervals, int64_t longest) {
  if (longest == 1) return std::vector<int64_t>(intervals, 1);
  const int64_t twos = (3 - intervals % 3) % 3;
  std::vector<int64_t> strides((intervals - 2 * twos) / 3, 3);
  strides.insert(strides.end(), twos, 2);
  return strides;
}

}  // namespace tweedie

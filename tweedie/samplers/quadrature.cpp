#include "tweedie/samplers/quadrature.h"

#include <cmath>
#include <numbers>

namespace tweedie {

std::vector<QuadratureNode> gauss_legendre(int n) {
  std::vector<QuadratureNode> nodes;
  for (int i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (i + 0.75) / (n + 0.5)), slope = 1;
    for (int step = 0; step < 20; ++step) {  // Newton's, to a root of P_n
      double below = 1, p = x;
      for (int k = 2; k <= n; ++k) {
        const double above = ((2 * k - 1) * x * p - (k - 1) * below) / k;
        below = p;
        p = above;
      }
      slope = n * (x * p - below) / (x * x - 1);
      x -= p / slope;
    }
    nodes.push_back({x, 2 / ((1 - x * x) * slope * slope)});
  }
  return nodes;
}

double lagrange(const std::vector<double>& points, size_t j, double x) {
  double value = 1;
  for (size_t k = 0; k < points.size(); ++k)
    if (k != j) value *= (x - points[k]) / (points[j] - points[k]);
  return value;
}

}  // namespace tweedie

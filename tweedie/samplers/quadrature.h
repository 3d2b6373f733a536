// Integrals of polynomials through given points.
#pragma once
#include <cstddef>
#include <vector>

namespace tweedie {

struct QuadratureNode {
  double at, weight;  ///< on [-1,1]
};

/// Exact for polynomials of degree 2n - 1.
std::vector<QuadratureNode> gauss_legendre(int n);

/// The polynomial that is 1 at points[j] and 0 at the others.
double lagrange(const std::vector<double>& points, size_t j, double x);

}  // namespace tweedie

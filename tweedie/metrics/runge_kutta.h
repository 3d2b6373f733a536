// Explicit Runge-Kutta steps whose stages stand at places that are given: levels of a schedule.
#pragma once
#include <cstdint>
#include <vector>

namespace tweedie {

/// Stage i is at node i, from y + h sum_(j<i) a[i][j] f_j; the step ends at y + h sum_i b[i] f_i,
/// with h from the first node to the last.
struct Tableau {
  std::vector<std::vector<double>> a;
  std::vector<double> b;
  /// The largest |a| or |b|: what rounding and the error's constant grow with.
  double largest() const;
};

/// Through 2 nodes of order 2 (Heun), through 3 of order 3, through 4 of order 4 (Kutta's, with its
/// two free places where the nodes are; equal spacing is the 3/8 rule). Nodes rise. Weights grow
/// without bound where two nodes meet and where the second of four is half-way.
Tableau tableau(const std::vector<double>& nodes);

/// How `intervals` are cut into steps of at most `longest` (1: Heun; 3: order 4) intervals. Threes
/// and, at the end, one or two twos, whose lower order leaves that of the whole at 4; `intervals`
/// is at least 2 for `longest` = 3.
std::vector<int64_t> rk_strides(int64_t intervals, int64_t longest);

}  // namespace tweedie

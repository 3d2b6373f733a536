#include "tweedie/process/timesteps.h"

#include <algorithm>
#include <cmath>

#include "tweedie/core/error.h"

namespace tweedie {

std::vector<int64_t> timesteps(const std::string& spacing, int64_t T, int64_t N, int64_t offset) {
  if (N < 1 || N > T) fail("[process] steps: {} is outside 1..{}", N, T);
  const auto rounded = [](double x) { return static_cast<int64_t>(std::nearbyint(x)); };
  std::vector<int64_t> list(N);
  if (spacing == "leading") {
    for (int64_t i = 0; i < N; ++i) list[N - 1 - i] = i * (T / N) + offset;  // LIN Table 2
  } else if (spacing == "linspace") {
    const double step = N == 1 ? 0 : static_cast<double>(T - 1) / static_cast<double>(N - 1);
    for (int64_t i = 0; i < N; ++i) list[N - 1 - i] = rounded(i * step);  // LIN Table 2
    list[0] = T - 1;
  } else if (spacing == "trailing") {
    // The stride that is left after T - T/N is rounded: NumPy's arange, which other tools go by.
    const double end = static_cast<double>(T), step = end - (end - end / static_cast<double>(N));
    for (int64_t i = 0; i < N; ++i) list[i] = rounded(end - i * step) - 1;  // LIN Table 2
  } else {
    fail_unknown("timestep_spacing", spacing, {"leading", "linspace", "trailing"});
  }
  if (list.front() >= T)
    fail("[process] steps_offset: {} leads to t = {}, beyond the last step {}", offset,
         list.front(), T - 1);
  return list;
}

}  // namespace tweedie

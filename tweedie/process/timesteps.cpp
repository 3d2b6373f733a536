#include "tweedie/process/timesteps.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }

// The number that `text` is, all of it.
int64_t count_in(std::string_view text, const std::string& spacing) {
  int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 1)
    fail("[process] spacing {}: '{}' is no count of steps; such as 250, 10,15,20 or ddim50",
         spacing, text);
  return count;
}

std::vector<int64_t> every_so_many(const std::string& spacing, int64_t T) {
  const int64_t N = count_in(std::string_view(spacing).substr(4), spacing);
  std::vector<int64_t> list;
  for (int64_t stride = 1; stride < std::max<int64_t>(T, 2); ++stride) {
    if ((T + stride - 1) / stride != N) continue;
    for (int64_t k = 0; k < T; k += stride) list.push_back(k);  // IDDPM's code
    return list;
  }
  fail("[process] spacing {}: no stride gives exactly {} of {} steps", spacing, N, T);
}

std::vector<int64_t> sections(const std::string& spacing, int64_t T) {
  std::vector<int64_t> counts, list;
  std::string_view rest = spacing;
  while (true) {
    const size_t comma = rest.find(',');
    counts.push_back(count_in(rest.substr(0, comma), spacing));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  const int64_t m = static_cast<int64_t>(counts.size());
  int64_t start = 0;
  for (int64_t i = 0; i < m; ++i) {
    const int64_t size = T / m + (i < T % m), count = counts[i];
    if (count > size)
      fail("[process] spacing {}: {} steps of a section that has {}", spacing, count, size);
    const double step = count == 1 ? 1 : static_cast<double>(size - 1) / (count - 1);
    double at = 0;  // accumulated as the code that models were published with does
    for (int64_t j = 0; j < count; ++j, at += step) list.push_back(start + rounded(at));  // IDDPM
    start += size;
  }
  return list;
}

}  // namespace

std::vector<int64_t> timesteps(const std::string& spacing, int64_t T, int64_t N, int64_t offset) {
  if (N < 1 || N > T) fail("[process] steps: {} is outside 1..{}", N, T);
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
  } else if (spacing == "quadratic") {
    for (int64_t i = 0; i < N; ++i) {
      const double u = N == 1 ? 1 : static_cast<double>(i) / static_cast<double>(N - 1);
      list[N - 1 - i] = static_cast<int64_t>(0.8 * static_cast<double>(T) * u * u);  // DDIM App. D
    }
    list.erase(std::unique(list.begin(), list.end()), list.end());
  } else {
    fail_unknown("timestep_spacing", spacing, {"leading", "linspace", "trailing", "quadratic"});
  }
  if (list.front() >= T)
    fail("[process] steps_offset: {} leads to t = {}, beyond the last step {}", offset,
         list.front(), T - 1);
  return list;
}

bool is_respacing(const std::string& spacing) {
  const bool digit = !spacing.empty() && spacing.find_first_not_of("0123456789,") == spacing.npos;
  return digit || (spacing.starts_with("ddim") && spacing.size() > 4);
}

std::vector<int64_t> respaced(const std::string& spacing, int64_t T) {
  std::vector<int64_t> list =
      spacing.starts_with("ddim") ? every_so_many(spacing, T) : sections(spacing, T);
  std::reverse(list.begin(), list.end());
  return list;
}

}  // namespace tweedie

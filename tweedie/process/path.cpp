#include "tweedie/process/path.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace tweedie {
namespace {

// Levels whose sigma/alpha differ by less, relatively, are one level but for rounding.
constexpr double kNearest = 1e-12;

// A schedule beside ln r of its entries, those without signal left out.
struct Table {
  explicit Table(const Schedule& s) : schedule(s) {
    for (int64_t k = 0; k < s.size() && s.level(k).alpha > 0; ++k)
      log_ratio.push_back(std::log(noise_ratio(s.level(k))));
  }

  double time(double r) const {
    const double x = std::log(r);
    if (std::isinf(x) && x > 0) return static_cast<double>(schedule.size() - 1);
    const auto above = std::upper_bound(log_ratio.begin(), log_ratio.end(), x);
    if (above == log_ratio.begin()) return 0;
    const int64_t k = above - log_ratio.begin() - 1;
    if (above == log_ratio.end()) return static_cast<double>(k);
    return static_cast<double>(k) + (x - log_ratio[k]) / (log_ratio[k + 1] - log_ratio[k]);
  }

  double ratio(int64_t k, double fraction) const {
    if (k + 1 < static_cast<int64_t>(log_ratio.size()))
      return std::exp(log_ratio[k] + fraction * (log_ratio[k + 1] - log_ratio[k]));
    const double below = std::atan(noise_ratio(schedule.level(k))), pure_noise = std::acos(0.);
    return std::tan(below + fraction * (pure_noise - below));
  }

  Schedule schedule;
  std::vector<double> log_ratio;
};

}  // namespace

double noise_ratio(const Level& at) { return at.sigma / at.alpha; }

Level vp_level(double r, double t) {
  const double alpha = 1 / std::sqrt(1 + r * r);
  return {alpha, std::isinf(r) ? 1 : r * alpha, t};
}

Level edm_level(double r) { return {1, r, std::log(r) / 4}; }  // EDM Table 1

Level flow_level(double tau) { return {1 - tau, tau, 1000 * tau}; }  // FM Sec. 4

std::vector<double> noise_ratios(const std::string& spacing, int64_t N, double high, double low,
                                 double rho) {
  const double p = 1 / rho;
  std::vector<double> ratios(N);
  for (int64_t i = 0; i < N; ++i) {
    const double u = N == 1 ? 0 : static_cast<double>(i) / static_cast<double>(N - 1);
    ratios[i] = spacing == "karras"
                    ? std::pow(std::pow(high, p) + u * (std::pow(low, p) - std::pow(high, p)), rho)
                    : high * std::pow(low / high, u);  // EDM Eq. 5; DPM++: uniform in log-SNR
  }
  ratios.front() = high;  // the ends are not rounded
  if (N > 1) ratios.back() = low;
  for (int64_t i = 1; i < N; ++i)
    if (!(ratios[i] < ratios[i - 1] * (1 - kNearest)))
      fail(
          "[process] spacing {}{}: {} levels between sigma/alpha {} and {} do not fall: {} follows "
          "{}",
          spacing, spacing == "karras" ? formatted(" of rho {}", rho) : "", N, high, low, ratios[i],
          ratios[i - 1]);
  return ratios;
}

Path vp_path(const Schedule& schedule) {
  const auto table = std::make_shared<const Table>(schedule);
  const auto at_time = [table](double t) {
    const int64_t last = table->schedule.size() - 1;
    if (!(t >= 0 && t <= last)) fail("[process] time {} is outside 0..{}", t, last);
    const int64_t k = static_cast<int64_t>(t);
    if (t == k) return table->schedule.level(k);
    return vp_level(table->ratio(k, t - k), t);
  };
  const auto at_ratio = [table](double r) {
    const double t = table->time(r);
    const Level entry = table->schedule.level(static_cast<int64_t>(t));
    return noise_ratio(entry) == r ? entry : vp_level(r, t);
  };
  return {at_time, at_ratio};
}

Path ve_path() {
  return {[](double t) { return Level{1, std::exp(4 * t), t}; }, edm_level};
}

Path flow_path() {
  const auto at_ratio = [](double r) { return flow_level(std::isinf(r) ? 1 : r / (1 + r)); };
  return {[](double t) { return flow_level(t / 1000); }, at_ratio};
}

}  // namespace tweedie

#include "tweedie/process/path.h"

#include <algorithm>
#include <cmath>
#include <memory>

namespace tweedie {
namespace {

Level at_ratio_vp(double r, double t) {
  const double alpha = 1 / std::sqrt(1 + r * r);
  return {alpha, std::isinf(r) ? 1 : r * alpha, t};
}

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

Path vp_path(const Schedule& schedule) {
  const auto table = std::make_shared<const Table>(schedule);
  const auto at_time = [table](double t) {
    const int64_t last = table->schedule.size() - 1;
    if (!(t >= 0 && t <= last)) fail("[process] time {} is outside 0..{}", t, last);
    const int64_t k = static_cast<int64_t>(t);
    if (t == k) return table->schedule.level(k);
    return at_ratio_vp(table->ratio(k, t - k), t);
  };
  const auto at_ratio = [table](double r) { return at_ratio_vp(r, table->time(r)); };
  return {at_time, at_ratio};
}

Path ve_path() {
  const auto at_ratio = [](double r) { return Level{1, r, std::log(r) / 4}; };  // EDM Table 1
  return {[](double t) { return Level{1, std::exp(4 * t), t}; }, at_ratio};
}

Path flow_path() {
  const auto at_tau = [](double tau) { return Level{1 - tau, tau, 1000 * tau}; };  // FM
  const auto at_ratio = [=](double r) { return at_tau(std::isinf(r) ? 1 : r / (1 + r)); };
  return {[=](double t) { return at_tau(t / 1000); }, at_ratio};
}

}  // namespace tweedie

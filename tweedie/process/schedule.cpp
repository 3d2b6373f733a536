#include "tweedie/process/schedule.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "tweedie/process/path.h"

namespace tweedie {
namespace {

double square(double x) { return x * x; }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// from, ..., to in n equal steps; n = 1 is `from` alone.
template <class Map>
std::vector<double> ramp(double from, double to, int64_t n, Map map) {
  std::vector<double> values(n);
  for (int64_t k = 0; k < n; ++k)
    values[k] = map(n == 1 ? from : from + (to - from) * static_cast<double>(k) / (n - 1));
  return values;
}

std::vector<double> linear(const ProcessOptions& o) {
  return ramp(o.beta_start, o.beta_end, o.num_train_timesteps, [](double beta) { return beta; });
}

std::vector<double> scaled_linear(const ProcessOptions& o) {
  return ramp(std::sqrt(o.beta_start), std::sqrt(o.beta_end), o.num_train_timesteps, square);
}

std::vector<double> sigmoid(const ProcessOptions& o) {
  return ramp(-6, 6, o.num_train_timesteps,
              [&](double u) { return o.beta_start + (o.beta_end - o.beta_start) * sigmoid(u); });
}

// abar(u) = cos^2 theta(u); 1 - abar(u2)/abar(u1) written without cancellation.
std::vector<double> squaredcos_cap_v2(const ProcessOptions& o) {
  const int64_t T = o.num_train_timesteps;
  const auto theta = [&](int64_t t) {
    return std::numbers::pi / 2 * (static_cast<double>(t) / T + o.cosine_s) / (1 + o.cosine_s);
  };
  std::vector<double> betas(T);
  for (int64_t t = 1; t <= T; ++t) {
    const double from = theta(t - 1), to = theta(t);
    const double beta = std::sin(to - from) * std::sin(to + from) / square(std::cos(from));
    betas[t - 1] = std::min(beta, o.max_beta);  // IDDPM Eq. 17
  }
  return betas;
}

// abar(u) falls from 1 to 0 as sigmoid(3 - 6u) does, SIG.
std::vector<double> sigmoid_abar(const ProcessOptions& o) {
  const int64_t T = o.num_train_timesteps;
  const double low = sigmoid(-3), high = sigmoid(3);
  const auto abar = [&](int64_t t) {
    return (high - sigmoid(6 * static_cast<double>(t) / T - 3)) / (high - low);
  };
  std::vector<double> betas(T);
  for (int64_t t = 1; t <= T; ++t) betas[t - 1] = std::min(1 - abar(t) / abar(t - 1), o.max_beta);
  return betas;
}

std::vector<double> laplace(const ProcessOptions& o) {
  const int64_t T = o.num_train_timesteps;
  const auto alpha_cumprod = [&](int64_t t) {
    const double u = 0.5 - static_cast<double>(t) / T;
    const double sign = (u > 0) - (u < 0);
    const double log_snr = -0.5 * sign * std::log(1 - 2 * std::abs(u) + 1e-6);
    return std::sqrt(sigmoid(log_snr));
  };
  std::vector<double> betas(T);
  for (int64_t t = 1; t <= T; ++t)
    betas[t - 1] = std::min(1 - alpha_cumprod(t) / alpha_cumprod(t - 1), o.max_beta);
  return betas;
}

// Shifts sqrt(abar) until it ends at 0; the scale that lets it begin where it began cancels in the
// ratio.
std::vector<double> zero_terminal_snr(std::vector<double> betas) {
  const Schedule before(betas);
  const int64_t T = before.size();
  const double last = before.level(T - 1).alpha;
  const auto alpha = [&](int64_t k) { return before.level(k).alpha - last; };
  for (int64_t k = 1; k < T; ++k) betas[k] = 1 - square(alpha(k) / alpha(k - 1));  // LIN Alg. 1
  return betas;
}

// Karras' spacing between the ends, or VE's, which is geometric.
std::vector<Level> edm_levels(const ProcessOptions& o) {
  if (!(o.sigma_min < o.sigma_max))
    fail("[process] sigma_min {} is not below sigma_max {}", o.sigma_min, o.sigma_max);
  std::vector<Level> levels;
  for (const double sigma : noise_ratios(o.sigma_schedule, o.num_train_timesteps, o.sigma_max,
                                         o.sigma_min, 7))  // EDM Eq. 5; SDE App. C
    levels.push_back(edm_level(sigma));
  std::reverse(levels.begin(), levels.end());
  return levels;
}

std::vector<Level> flow_levels(const ProcessOptions& o) {
  const int64_t T = o.num_train_timesteps;
  std::vector<Level> levels;
  for (int64_t k = 1; k <= T; ++k) {
    const double u = static_cast<double>(k) / static_cast<double>(T);
    // That the last step is noise alone is not left to rounding.
    const double tau = k == T ? 1 : o.shift * u / (1 + (o.shift - 1) * u);  // SD3 Eq. 23
    levels.push_back(flow_level(tau));
  }
  return levels;
}

}  // namespace

const std::vector<ScheduleInfo>& schedules() {
  static const std::vector<ScheduleInfo> list = {
#define SCHEDULE(name, about) {#name, name, about},
#include "tweedie/process/schedules.inc"
#undef SCHEDULE
  };
  return list;
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names;
  for (const ScheduleInfo& info : schedules()) names.push_back(info.name);
  return names;
}

std::vector<std::string> beta_schedules() {
  std::vector<std::string> names = schedule_names();
  names.push_back("learned");
  return names;
}

std::vector<double> make_betas(const ProcessOptions& options) {
  std::vector<double> betas;
  for (const ScheduleInfo& schedule : schedules())
    if (options.beta_schedule == schedule.name) betas = schedule.betas(options);
  if (options.trained_betas) betas = *options.trained_betas;
  if (betas.empty() && options.beta_schedule == "learned")
    fail(
        "[process] beta_schedule learned: is trained with a network, and then is its "
        "trained_betas");
  if (betas.empty()) fail_unknown("beta_schedule", options.beta_schedule, beta_schedules());
  if (static_cast<int64_t>(betas.size()) != options.num_train_timesteps)
    fail("[process] trained_betas has {} values and num_train_timesteps is {}", betas.size(),
         options.num_train_timesteps);
  return options.rescale_betas_zero_snr ? zero_terminal_snr(std::move(betas)) : betas;
}

Schedule::Schedule(std::vector<double> betas) : betas_(std::move(betas)) {
  if (betas_.empty()) fail("[process] a schedule needs at least one beta");
  double log_alpha_cumprod = 0;
  for (int64_t k = 0; k < size(); ++k) {
    const double beta = betas_[k];
    const bool pure_noise_at_the_end = beta == 1 && k + 1 == size() && k > 0;
    if (!(beta > 0 && beta < 1) && !pure_noise_at_the_end)
      fail("[process] beta of step {} is {}: it must lie between 0 and 1", k, beta);
    log_alpha_cumprod += std::log1p(-beta);
    log_alpha_cumprod_.push_back(log_alpha_cumprod);
  }
}

double Schedule::beta(int64_t k) const {
  if (betas_.empty()) fail("[process] a path made of levels has no betas");
  return betas_.at(k);
}

double Schedule::alpha_cumprod(int64_t k) const {
  return k < 0 ? 1 : std::exp(log_alpha_cumprod_.at(k));
}

double Schedule::one_minus_alpha_cumprod(int64_t k) const {
  return k < 0 ? 0 : -std::expm1(log_alpha_cumprod_.at(k));
}

Schedule Schedule::from_levels(std::vector<Level> levels) {
  Schedule schedule;
  double last = 0;
  for (const Level& at : levels) {
    if (!(at.alpha >= 0 && at.sigma > last * at.alpha))
      fail("[process] the levels of a schedule rise in noise: t = {} does not", at.t);
    last = at.alpha > 0 ? at.sigma / at.alpha : std::numeric_limits<double>::infinity();
  }
  if (levels.empty()) fail("[process] a schedule needs at least one level");
  schedule.levels_ = std::move(levels);
  return schedule;
}

double Schedule::snr(int64_t k) const {
  if (levels_.empty()) return alpha_cumprod(k) / one_minus_alpha_cumprod(k);
  return square(level(k).alpha / level(k).sigma);
}

Schedule make_schedule(const ProcessOptions& options) {
  if (options.path == "vp") return Schedule(make_betas(options));
  if (options.path == "edm") return Schedule::from_levels(edm_levels(options));
  if (options.path == "flow") return Schedule::from_levels(flow_levels(options));
  fail_unknown("path", options.path, {"vp", "edm", "flow"});
}

Level Schedule::level(int64_t k) const {
  if (k < 0) return {1, 0, -1};
  if (!levels_.empty()) return levels_.at(k);
  return {std::sqrt(alpha_cumprod(k)), std::sqrt(one_minus_alpha_cumprod(k)),
          static_cast<double>(k)};
}

}  // namespace tweedie

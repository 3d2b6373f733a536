#include "tweedie/samplers/multistep.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace tweedie {

History::History(const SamplerOptions& options, int64_t order, bool equal_steps)
    : list_(options.history), most_(order), equal_steps_(equal_steps) {}

void History::add(Evaluation e) {
  if (!equal_steps_) std::erase_if(list_, [](const Evaluation& old) { return old.at.alpha == 0; });
  list_.insert(list_.begin(), std::move(e));
  if (size() > most_) list_.resize(most_);
}

double History::distance(int64_t j, double h) const {
  return (lambda(list_.at(j).at) - lambda(list_.front().at)) / h;
}

int64_t order_of_step(const History& history, const Grid& grid, int64_t i,
                      const SamplerOptions& options) {
  if (grid.landing(i).sigma == 0) return 1;
  const bool falls = options.lower_order_final && grid.steps() < 15;  // DPM++, the authors' code
  return falls ? std::min(history.size(), grid.steps() - i) : history.size();
}

double lambda(const Level& at) { return std::log(at.alpha / at.sigma); }

double log_snr_step(const char* sampler, const Level& at, const Level& next) {
  const double h = lambda(next) - lambda(at);
  if (!(h >= 0))
    fail("[{}] sigma/alpha must fall from level to level: {} follows {}", sampler,
         noise_ratio(next), noise_ratio(at));
  return h;
}

double psi(int j, double g) {
  double factorial = 1;
  for (int k = 2; k <= j; ++k) factorial *= k;
  if (std::abs(g) > 0.5)
    return (j == 1 ? std::expm1(g) : psi(j - 1, g)) / g - 1 / factorial;  // UniPC Sec. 3
  double term = 1 / factorial, sum = 0;
  for (int m = 1; m <= 16; ++m) {
    term *= g / (m + j);
    sum += term;
  }
  return sum;
}

void require_dpmpp_type(const char* sampler, const SamplerOptions& options) {
  const std::string type = options.solver_type.value_or("midpoint");
  if (type != "midpoint" && type != "heun")
    fail_unknown(formatted("[{}] solver_type", sampler), type, {"midpoint", "heun"});
}

Tensor dpmpp_step(const char* sampler, const Tensor& x, const History& history, const Level& next,
                  int64_t order, const SamplerOptions& options) {
  const Evaluation& e = history[0];
  const double h = log_snr_step(sampler, e.at, next), a = next.alpha;
  if (h == 0) return x;
  const double phi1 = std::expm1(-h), phi2 = -psi(1, -h), phi3 = psi(2, -h);
  const Tensor base = (next.sigma / e.at.sigma) * x - (a * phi1) * e.x0;  // DPM++ Prop. 4.1
  if (order == 1) return base;
  const double q1 = -history.distance(1, h);
  const Tensor d0 = (e.x0 - history[1].x0) / q1;
  const bool exact = options.solver_type == "heun";
  if (order == 2) return base + a * (exact ? phi2 : -phi1 / 2) * d0;  // DPM++ Alg. 2
  const double q2 = -history.distance(2, h) - q1;
  const Tensor d1 = (history[1].x0 - history[2].x0) / q2;
  const double twice = options.diffusers() ? 1 : 2;  // the second derivative, or half of it
  const Tensor slope = d0 + (q1 / (q1 + q2)) * (d0 - d1), bend = twice / (q1 + q2) * (d0 - d1);
  return base + a * phi2 * slope - a * phi3 * bend;  // DPM++ Prop. 4.1
}

std::vector<double> unipc_weights(const std::vector<double>& distances, double g, double B) {
  const int64_t n = static_cast<int64_t>(distances.size());
  if (n < 2) return std::vector<double>(n, 0.5);  // what the authors take for one unknown
  const Tensor R = at::empty({n, n}, at::kDouble), b = at::empty({n}, at::kDouble);
  double factorial = 1;
  for (int64_t l = 0; l < n; ++l) {
    factorial *= static_cast<double>(l + 1);
    b.data_ptr<double>()[l] = factorial * psi(static_cast<int>(l + 1), g) / B;  // UniPC Sec. 3
    for (int64_t j = 0; j < n; ++j)
      R.data_ptr<double>()[l * n + j] = std::pow(distances[j], static_cast<double>(l));
  }
  const Tensor rho = at::linalg_solve(R, b);  // UniPC Sec. 3
  return {rho.data_ptr<double>(), rho.data_ptr<double>() + n};
}

Tensor adams_bashforth(const std::vector<Tensor>& e, int64_t order) {
  if (order == 1) return e.at(0);
  if (order == 2) return (3 * e.at(0) - e.at(1)) / 2;  // PNDM Sec. 3
  if (order == 3) return (23 * e.at(0) - 16 * e.at(1) + 5 * e.at(2)) / 12;
  return (55 * e.at(0) - 59 * e.at(1) + 37 * e.at(2) - 9 * e.at(3)) / 24;
}

}  // namespace tweedie

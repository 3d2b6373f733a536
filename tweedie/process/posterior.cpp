#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

double square(double x) { return x * x; }

}  // namespace

double step_variance(const Level& at, const Level& next) {
  const double ratio = at.alpha / next.alpha;
  return square(at.sigma) - square(ratio * next.sigma);  // VDM Sec. 3
}

Posterior posterior(const Level& at, const Level& next) {
  const double beta = step_variance(at, next);
  const double var_t = square(at.sigma), var_p = square(next.sigma);
  const double c0 = next.alpha * beta / var_t;                  // DDPM Eq. 7
  const double c1 = (at.alpha / next.alpha) * (var_p / var_t);  // DDPM Eq. 7
  const double variance = beta * (var_p / var_t);               // DDPM Eq. 7
  return {c0, c1, variance};
}

}  // namespace tweedie

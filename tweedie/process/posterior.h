// q(x_p | x_t, x_0): where the chain was at a less noisy level p, given where it is and where it
// began.
#pragma once
#include "tweedie/process/schedule.h"

namespace tweedie {

/// N(x_p; c0 x_0 + c1 x_t, variance I), DDPM Eq. 6-7. Any two levels of one process will do, p < t,
/// not only neighbours: with p = t - 1 on a VP table these are the paper's numbers. At the data end
/// c0 = 1, c1 = 0 and the variance is 0.
struct Posterior {
  double c0, c1;
  double variance;  ///< the papers' beta tilde
};
Posterior posterior(const Level& at, const Level& next);

/// Variance of q(x_t | x_p) = N((alpha_t/alpha_p) x_p, ...), VDM Sec. 3; beta_t for neighbours.
double step_variance(const Level& at, const Level& next);

}  // namespace tweedie

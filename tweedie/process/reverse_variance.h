// The variance of p(x_p | x_t): of a sampler's step, and of the bound's terms.
#pragma once
#include <string>

#include "tweedie/process/denoiser.h"

namespace tweedie {

/// Its logarithm, from ln beta and ln beta tilde of the step (of Estimate's shape or broadcast to
/// it), by variance_type. Throws Error (user) for an unknown type, and where a learned variance is
/// missing.
Tensor log_reverse_variance(const std::string& variance_type, const Estimate& e,
                            const Tensor& log_beta, const Tensor& log_beta_tilde);

}  // namespace tweedie

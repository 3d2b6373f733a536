#include "tweedie/process/reverse_variance.h"

#include <ATen/ATen.h>

#include "tweedie/process/options.h"

namespace tweedie {

Tensor log_reverse_variance(const std::string& variance_type, const Estimate& e,
                            const Tensor& log_beta, const Tensor& log_beta_tilde) {
  if (variance_type == "fixed_small" || variance_type == "fixed_small_log")
    return log_beta_tilde;  // DDPM Sec. 3.2
  if (variance_type == "fixed_large" || variance_type == "fixed_large_log")
    return log_beta;  // DDPM Sec. 3.2
  if (variance_type != "learned" && variance_type != "learned_range")
    fail_unknown("variance_type", variance_type, variance_types());
  if (!e.log_variance.defined())
    fail("[process] variance_type {} needs a network with twice the image's channels",
         variance_type);
  if (variance_type == "learned") return e.log_variance;  // IDDPM Sec. 3.1
  const Tensor share = (e.log_variance + 1) / 2;
  return share * log_beta + (1 - share) * log_beta_tilde;  // IDDPM Eq. 15
}

}  // namespace tweedie

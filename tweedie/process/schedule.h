// The forward process as a table: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, abar_t = prod (1 -
// beta_i).
#pragma once
#include "tweedie/process/denoiser.h"
#include "tweedie/process/options.h"

namespace tweedie {

/// The T betas of beta_schedule, or trained_betas; rescaled to zero terminal SNR if the options say
/// so. Throws Error if trained_betas does not hold num_train_timesteps values.
std::vector<double> make_betas(const ProcessOptions& options);

/// Float64 throughout. k = 0..T-1 is the index that the network is told (the papers' t - 1); k = -1
/// is the data, where abar is 1 exactly. Both abar and 1 - abar are accurate to a few ulp: they
/// come from l_k = sum log1p(-beta_i) as exp(l) and -expm1(l), never from each other.
class Schedule {
 public:
  /// Throws Error unless 0 < beta < 1; the last alone may be 1 (zero terminal SNR).
  explicit Schedule(std::vector<double> betas);

  int64_t size() const { return static_cast<int64_t>(betas_.size()); }
  double beta(int64_t k) const { return betas_.at(k); }
  double alpha_cumprod(int64_t k) const;
  double one_minus_alpha_cumprod(int64_t k) const;
  /// {sqrt(abar_k), sqrt(1 - abar_k), k}
  Level level(int64_t k) const;

 private:
  std::vector<double> betas_;
  std::vector<double> log_alpha_cumprod_;
};

}  // namespace tweedie

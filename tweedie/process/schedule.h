// The forward process as a table: x_t = alpha_t x_0 + sigma_t eps. On the vp path alpha_t^2 =
// abar_t = prod (1 - beta_i) and sigma_t^2 = 1 - abar_t.
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
  /// Any other path, by its levels, sigma/alpha rising. beta() throws Error there.
  static Schedule from_levels(std::vector<Level> levels);

  int64_t size() const {
    return static_cast<int64_t>(levels_.empty() ? betas_.size() : levels_.size());
  }
  double beta(int64_t k) const;
  double alpha_cumprod(int64_t k) const;
  double one_minus_alpha_cumprod(int64_t k) const;
  /// {sqrt(abar_k), sqrt(1 - abar_k), k}, or what it was made of.
  Level level(int64_t k) const;
  /// (alpha/sigma)^2; 0 where there is no signal.
  double snr(int64_t k) const;

 private:
  Schedule() = default;
  std::vector<double> betas_;
  std::vector<double> log_alpha_cumprod_;
  std::vector<Level> levels_;  // of another path than vp
};

/// The table of num_train_timesteps levels on options.path.
Schedule make_schedule(const ProcessOptions& options);

}  // namespace tweedie

// The variational bound on -ln p(x_0), term by term (DDPM Eq. 5): L_T, a KL divergence for each
// step of the chain, and the decoder. Training minimises it, evaluation adds it up.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "tweedie/process/denoiser.h"
#include "tweedie/process/discretised.h"
#include "tweedie/process/options.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// What p(x_0|x_1) is.
enum class Decoder {
  kDiscretised,  ///< of 8-bit levels, DDPM Eq. 13: the bound is on a probability
  kDiscretisedTanh,
  kContinuous  ///< a Gaussian density: the bound is on a density
};

/// Along a chain of N levels, the papers' t = 1..N; all T of a process, or fewer: a strided chain
/// has a bound of its own. Everything in float64 and bits a dimension, [N] one value an example.
class VariationalBound {
 public:
  /// `levels`: noisiest first, the data last, as Process::levels gives them. `data_variance` is
  /// that of the decoder where the variance is fixed; without it the posterior's of the step before
  /// stands in (DDPM's code), which suits tables whose SNR falls by half there. `initial_std` is
  /// that of p(x_T); without it 1, or sigma_T where alpha_T = 1 (EDM). Throws Error for an unknown
  /// variance_type and for a chain that does not end at the data.
  VariationalBound(std::vector<Level> levels, const std::string& variance_type,
                   Decoder decoder = Decoder::kDiscretised,
                   std::optional<double> data_variance = {},
                   std::optional<double> initial_std = {});

  int64_t size() const { return size_; }
  /// What the network is told at step k: k = 0 is the step to the data. [N] float64.
  const Tensor& timesteps() const { return timesteps_; }

  /// L_T = KL(q(x_T|x_0) || p(x_T)), p(x_T) = N(0, initial_std^2 I).
  Tensor prior(const Tensor& x0) const;
  /// The term of the step from x_k, k [N] int64 in 0..size()-1, each example its own: the KL
  /// divergence for k > 0, -ln p(x_0|x_1) at k = 0. `e` is what is believed at x_k; gradients flow
  /// into e.x0 and e.log_variance. Throws Error where a learned variance is missing.
  Tensor term(const Estimate& e, const Tensor& x0, const Tensor& k) const;
  /// The log variance of p(x_(k-1)|x_k), of each scalar.
  Tensor log_variance(const Estimate& e, const Tensor& x0, const Tensor& k) const;
  /// The same KL by one draw x_(k-1) ~ q(x_(k-1)|x_k,x_0), z standard normal: ln q - ln p.
  Tensor monte_carlo_term(const Estimate& e, const Tensor& x0, const Tensor& k,
                          const Tensor& z) const;

 private:
  Tensor decoder_term(const Estimate& e, const Tensor& x0, const Tensor& log_variance) const;

  int64_t size_;
  std::string variance_type_;
  Decoder decoder_;
  Level noisiest_;
  double initial_std_;
  Tensor timesteps_;                       // [N]
  Tensor c0_, log_beta_, log_beta_tilde_;  // [N] float64 on the CPU, by k
};

/// The decoder's variance that goes with a process: (sigma_1/alpha_1)^2 (VDM), the spread of x_1
/// around the data, for densities, betas without a name and the paths edm and flow; none for the
/// papers' vp tables with 8-bit levels, whose published figures have DDPM's.
std::optional<double> data_variance(const ProcessOptions& process, const Level& first,
                                    Decoder decoder);

/// The bound of the model that is sampled along these levels of a process: with its variance, the
/// noise that it begins with and the decoder's data_variance().
VariationalBound bound_along(const Process& process, const std::vector<Level>& levels,
                             Decoder decoder);

}  // namespace tweedie

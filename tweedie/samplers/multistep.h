// What the multistep solvers share: their memory, the order of a step, and the integrals of
// exponentials that they are made of.
#pragma once
#include "tweedie/samplers/walk.h"

namespace tweedie {

/// The evaluations at the last levels, newest first.
class History {
 public:
  /// Holds at most `order`; begins with options.history. Where the method looks at the distance of
  /// its levels, one without signal is infinitely far off and is not kept beside newer ones.
  History(const SamplerOptions& options, int64_t order, bool equal_steps = false);
  /// The newest.
  void add(Evaluation e);
  int64_t size() const { return static_cast<int64_t>(list_.size()); }
  const Evaluation& operator[](int64_t j) const { return list_.at(j); }
  /// lambda of entry j less that of entry 0, over h: negative for the older ones.
  double distance(int64_t j, double h) const;

 private:
  std::vector<Evaluation> list_;
  int64_t most_;
  bool equal_steps_;
};

/// The order of step i: what the memory allows; 1 on a step to the data, where lambda is infinite;
/// with lower_order_final falling to 1 over the last steps of a run of fewer than 15.
int64_t order_of_step(const History& history, const Grid& grid, int64_t i,
                      const SamplerOptions& options);

/// ln(alpha/sigma), half the log-SNR; infinite at the data.
double lambda(const Level& at);
/// lambda's increase from `at` to `next`; 0 where a list ends at its last level once more (a
/// folder's final_sigmas_type sigma_min). Throws Error (user) if it falls.
double log_snr_step(const char* sampler, const Level& at, const Level& next);

/// psi_j(g) = sum_{m >= 1} g^m/(m+j)!: expm1(g)/g - 1 for j = 1, psi_{j-1}(g)/g - 1/j! beyond.
double psi(int j, double g);

/// Throws Error (user) for a solver_type that is neither midpoint nor heun.
void require_dpmpp_type(const char* sampler, const SamplerOptions& options);

/// The integral of the data prediction by a polynomial in lambda through the last one, two or three
/// estimates, from history[0].at to `next` (DPM++ Prop. 4.1).
Tensor dpmpp_step(const char* sampler, const Tensor& x, const History& history, const Level& next,
                  int64_t order, const SamplerOptions& options);

/// UniPC's rho_j of the differences to entries at these distances (in h): R rho = b, 1/2 for one;
/// g = -h, B = g (bh1) or expm1(g) (bh2).
std::vector<double> unipc_weights(const std::vector<double>& distances, double g, double B);

/// Adams-Bashforth of the last `order` noises, 1..4, for equal steps (PNDM Sec. 3).
Tensor adams_bashforth(const std::vector<Tensor>& newest_first, int64_t order);

}  // namespace tweedie

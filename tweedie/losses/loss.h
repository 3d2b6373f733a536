// The loss of a training step, whatever the objective's options say.
//
//   const Loss loss(objective, process);
//   output = net(process.network_input(x_t, t), process.told(t));
//   loss(output, {x0, eps, x_t, t}).mean().backward();
#pragma once
#include "tweedie/losses/objective.h"
#include "tweedie/process/bound.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// What a training step made of its images: x_t = alpha_t x0 + sigma_t eps.
struct Noised {
  const Tensor &x0, &eps, &x_t;  ///< [N,C,H,W]
  const Tensor& t;               ///< [N] int64
};

class Loss {
 public:
  /// `decoder`: what the data are, for vlb and hybrid. Throws Error (user) where objective and
  /// process do not fit each other.
  Loss(ObjectiveOptions options, const Process& process, Decoder decoder = Decoder::kDiscretised);
  /// [N] the loss of each example, not weighed by how likely its t was; differentiable in output
  /// [N,C,H,W], or [N,2C,H,W] with a learned variance. simple: the mean over C,H,W. vlb: T times
  /// the term of the bound, in bits/dim: its mean over t is the bound but for L_T. hybrid: simple
  /// plus vlb_weight times that, whose gradient stops at the mean.
  Tensor operator()(const Tensor& output, const Noised& noised) const;

 private:
  Tensor simple(const Tensor& output, const Noised& noised) const;
  Tensor vlb(const Tensor& output, const Noised& noised, bool hold_mean) const;

  ObjectiveOptions options_;
  Process process_;  // without clipping
  std::optional<VariationalBound> bound_;
  Tensor weight_;  // [T] float64
};

}  // namespace tweedie

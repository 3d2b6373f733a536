// L_simple, the loss that DDPM trains with, and its kin of other distances.
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// Mean over C,H,W of (target - output)^2, DDPM Eq. 14, one value an example: [N], differentiable
/// in output. Both [N,C,H,W] of one shape, else Error. Any weighting over t is the caller's; the
/// mean over N is L_simple.
Tensor simple_loss(const Tensor& output, const Tensor& target);
/// The same with |d| in place of d^2.
Tensor absolute_loss(const Tensor& output, const Tensor& target);
/// The same with d^2/2 up to |d| = delta and delta (|d| - delta/2) beyond.
Tensor huber_loss(const Tensor& output, const Tensor& target, double delta);

}  // namespace tweedie

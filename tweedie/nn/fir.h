// Antialiased resampling by two with the binomial filter [1,3,3,1] (NCSN++: Song et al. 2021, after
// StyleGAN2).
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// [N,C,H,W] -> [N,C,H/2,W/2], rounded down; H and W are 2 or more.
Tensor fir_down(const Tensor& x);
/// [N,C,H,W] -> [N,C,2H,2W].
Tensor fir_up(const Tensor& x);

}  // namespace tweedie

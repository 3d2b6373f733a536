// The model-free check of diffusers' scheduler tests: x_i = i/768, network(x, t) = x t/(t + 1), sum
// |x|.
#pragma once
#include <ATen/ATen.h>

#include <functional>

#include "tweedie/core/noise.h"

namespace tweedie {

inline Tensor ramp() {
  return (at::arange(768, at::kFloat) / 768).view({3, 8, 8, 4}).permute({3, 0, 1, 2}).contiguous();
}

inline Tensor ramp_network(const Tensor& x, const Tensor& t) {
  return x * (t / (t + 1)).view({-1, 1, 1, 1});
}

inline double ramp_sum(const std::function<Tensor(const Tensor& x, Noise& noise)>& sample) {
  ReplayedNoise none({}, {});
  return sample(ramp(), none).abs().sum().item<double>();
}

}  // namespace tweedie

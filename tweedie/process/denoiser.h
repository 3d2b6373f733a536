// What joins networks and samplers: (x_t, where on the way) -> what is believed about
// x_0.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace tweedie {

using at::Tensor;

/// A place on the way from image to noise: x_t = alpha x_0 + sigma eps, eps ~ N(0,I).
struct Level {
  double alpha = 1, sigma = 0;
  double t = -1;  ///< what the network is told; -1 at the data end
};

/// What is believed about the clean image behind x_t. All tensors of its shape [N,C,H,W] and type.
struct Estimate {
  Tensor x0;            ///< E[x_0 | x_t]: Tweedie's formula; clipped if the process clips
  Tensor eps;           ///< the noise, as the network believes it
  Tensor log_variance;  ///< learned: the network's share v in [-1,1] or ln var; undefined if fixed
};

/// The condition, such as a class, is bound inside.
using Denoiser = std::function<Estimate(const Tensor& x, const Level& at)>;

/// A network with a timestep and a class for each example: x [N,C,H,W], t [N], labels [N] int64.
using LabelledNetwork =
    std::function<Tensor(const Tensor& x, const Tensor& t, const Tensor& labels)>;

}  // namespace tweedie

// GroupNorm with what follows it in a residual block, on tensors, with gradients.
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// act(((x - mean) / sqrt(var + eps) * weight + bias) * (1 + scale) + shift), mean and variance
/// over a group of channels of an image (Wu & He 2018, arXiv 1803.08494).
struct GroupNormArgs {
  int64_t groups;  ///< divides the channels
  double eps;
  Tensor weight, bias;  ///< [C]
  bool silu = false;    ///< act is SiLU; else none
  Tensor scale, shift;  ///< [N,C]; both or none
};

/// x [N,C,...] -> the same. With kernels/norm.h, which keep x alone for the backward pass, where
/// `runs_on_kernels(x)`; everything else by at::group_norm, and so are second derivatives.
Tensor group_norm(const Tensor& x, const GroupNormArgs& args);

/// Whether a tensor is float32 on the CPU with no autocast on: what the kernels are for.
bool runs_on_kernels(const Tensor& x);

/// The same in the memory order of the kernels, channels last.
Tensor channels_last(const Tensor& x);

// --- the parts, for functions that fuse more --------------------------------------------------

// `beside`, if defined, holds further channels of x: [x, beside] is normalised as one.

struct GroupNormStatistics {
  Tensor mean, rstd;  ///< [N,groups]
};
GroupNormStatistics group_norm_statistics(const Tensor& x, const Tensor& beside,
                                          const GroupNormArgs& args);
/// What x is multiplied with and what is added then, before the activation: [2,N,C].
Tensor group_norm_line(const GroupNormArgs& args, const GroupNormStatistics& statistics);
Tensor group_norm_apply(const Tensor& x, const Tensor& beside, const GroupNormArgs& args,
                        const GroupNormStatistics& statistics);

struct GroupNormGradients {
  Tensor x, beside, weight, bias, scale, shift;
};
/// From the gradient `dy` of the result, which is overwritten if `reuse`.
GroupNormGradients group_norm_gradients(const Tensor& x, const Tensor& beside,
                                        const GroupNormArgs& args,
                                        const GroupNormStatistics& statistics, const Tensor& dy,
                                        bool reuse);

/// By stock operations alone, so that it can be derived any number of times.
Tensor stock_group_norm(const Tensor& x, const GroupNormArgs& args);

}  // namespace tweedie

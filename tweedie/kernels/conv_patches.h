// Convolutions that Winograd is not for, on tensors: of stride 2, of few channels.
#pragma once
#include <ATen/core/Tensor.h>

#include "tweedie/kernels/weight_cache.h"

namespace tweedie {

/// What at::conv2d gives for x [N,in,H,W], weight [out,in,K,K] and bias [out] or undefined. In
/// float32 on a CPU and without autograd as a product of patches with the filters (kernels/
/// matmul.h), which `cache` keeps in its order; else by at::conv2d itself. With autograd the
/// gradients of few and wide patches are such products too.
Tensor conv_patches(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t stride,
                    int64_t padding, WeightCache& cache);

}  // namespace tweedie

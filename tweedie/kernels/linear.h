// Linear layers on tensors, with gradients.
#pragma once
#include <ATen/core/Tensor.h>

#include "tweedie/kernels/weight_cache.h"

namespace tweedie {

/// [x, beside] w' + bias + residual [...,out]; x [...,in] without the features of `beside`, which
/// may be undefined; w is `weights` [out_i,in] one below the other, and bias so too; the residual
/// may be undefined. In float32 on a CPU by kernels/matmul.h, without autograd with what `cache`
/// keeps; everything else by at::linear, and so are second derivatives and a few rows with
/// autograd.
Tensor linear(const Tensor& x, const Tensor& beside, at::ArrayRef<Tensor> weights,
              at::ArrayRef<Tensor> biases, const Tensor& residual, WeightCache& cache);

}  // namespace tweedie

// 3x3 convolution of stride 1 and padding 1 on tensors, with gradients.
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// How a convolution of this shape is computed in float32 on a CPU. A pure function of the shape
/// without the batch, so that runs repeat and resume exactly.
enum class ConvPlan {
  kStock,    ///< at::conv2d
  kWinograd  ///< kernels/winograd.h, channels last
};
ConvPlan plan_conv3x3(int64_t in_channels, int64_t out_channels, int64_t height, int64_t width);

/// x [N,in,H,W], weight [out,in,3,3], bias [out] or undefined -> [N,out,H,W]. By Winograd where the
/// plan says so, the tensors are float32 on the CPU and no autocast is on; everything else goes to
/// at::conv2d. Second derivatives are at::conv2d's.
Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias);

}  // namespace tweedie

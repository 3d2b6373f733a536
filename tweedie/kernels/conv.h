// 3x3 convolution of stride 1 and padding 1 on tensors, with what a residual block has around it
// and with gradients.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "tweedie/kernels/group_norm.h"

namespace tweedie {

/// How a convolution of this shape is computed in float32 on a CPU. A pure function of the shape
/// without the batch, so that runs repeat and resume exactly.
enum class ConvPlan {
  kStock,    ///< at::conv2d
  kWinograd  ///< kernels/winograd.h, channels last
};
ConvPlan plan_conv3x3(int64_t in_channels, int64_t out_channels, int64_t height, int64_t width);

/// Keeps a transformed filter from one call without autograd to the next, for as long as the filter
/// is not changed. Several threads may share it.
class FilterCache {
 public:
  FilterCache();
  ~FilterCache();
  FilterCache(const FilterCache&) = delete;
  /// The transform of `weight`, kept.
  Tensor find(const Tensor& weight);
  /// Forgets it.
  void drop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// What is done around the convolution, in the same pass.
struct ConvExtras {
  std::optional<GroupNormArgs> norm;  ///< of the input, before; the result of it is never kept
  bool upsample = false;              ///< every pixel of the input counts as 2x2 equal ones, before
  Tensor image_bias;                  ///< [N,out], added; may be undefined
  Tensor residual;                    ///< like the output, added; may be undefined
  FilterCache* cache = nullptr;       ///< of this filter, used without autograd
};

/// x [N,in,H,W], weight [out,in,3,3], bias [out] or undefined -> [N,out,H,W], twice the size if
/// upsampled. By Winograd where the plan says so and runs_on_kernels(x); everything else by
/// at::conv2d, and so are second derivatives.
Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias,
               const ConvExtras& extras = {});

}  // namespace tweedie

// 3x3 convolution of stride 1 and padding 1 on tensors, with what a residual block has around it
// and with gradients.
#pragma once
#include <ATen/core/Tensor.h>

#include <compare>
#include <map>
#include <optional>

#include "tweedie/kernels/group_norm.h"
#include "tweedie/kernels/weight_cache.h"

namespace tweedie {

/// Channels and the output's size.
struct ConvShape {
  int64_t in, out, height, width;
  auto operator<=>(const ConvShape&) const = default;
};

/// How a convolution is computed in float32 on a CPU.
enum class ConvPlan {
  kStock,    ///< kernels/conv_patches.h, which is at::conv2d with autograd
  kWinograd  ///< kernels/winograd.h, channels last
};
/// Without autograd: a pure function of the shape without the batch, so that an image does not
/// depend on those beside it.
ConvPlan plan_conv3x3(const ConvShape& shape);
/// With autograd, where the filter is transformed anew every time: of the batch too.
ConvPlan plan_conv3x3_training(const ConvShape& shape, int64_t batch);
constexpr int64_t kConvPlanVersion = 4;  ///< raised when one of them changes its mind

/// What to do instead of their choice, shape by shape.
using ConvPlans = std::map<ConvShape, ConvPlan>;

/// Keeps a filter in the forms that the plans ask for.
class FilterCache {
 public:
  /// The transform of `weight` for tiles of 2 or 4 outputs a side (kernels/winograd.h).
  Tensor find(const Tensor& weight, int64_t tile);
  WeightCache& patches() { return patches_; }  ///< of conv_patches
  void drop();

 private:
  WeightCache small_, large_, patches_;
};

/// What is done around the convolution, in the same pass.
struct ConvExtras {
  Tensor beside;                      ///< further channels of x; [x, beside] is the input
  std::optional<GroupNormArgs> norm;  ///< of the input, before; the result of it is never kept
  bool upsample = false;              ///< every pixel of the input counts as 2x2 equal ones, before
  Tensor image_bias;                  ///< [N,out], added; may be undefined
  Tensor residual;                    ///< like the output, added; may be undefined
  FilterCache* cache = nullptr;       ///< of this filter, used without autograd
  const ConvPlans* plans = nullptr;   ///< where they say nothing: plan_conv3x3 or ..._training
};

/// x [N,in,H,W] without the channels of `beside`, weight [out,in,3,3], bias [out] or undefined ->
/// [N,out,H,W], twice the size if upsampled. By Winograd where the plan says so and
/// runs_on_kernels(x); everything else by conv_patches, and second derivatives by at::conv2d.
Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias,
               const ConvExtras& extras = {});

}  // namespace tweedie

// The residual block of the U-Net and what it resamples with.
#pragma once
#include <ATen/core/Generator.h>

#include <optional>
#include <string>

#include "tweedie/nn/layers.h"

namespace tweedie {

/// The activation called `act_fn` (silu, swish, mish, gelu, relu). Overwrites x where autograd
/// allows it: pass a tensor that nobody else needs.
using Activation = Tensor (*)(Tensor x);
Activation find_activation(const std::string& act_fn);

enum class Resample { kNone, kDown, kUp, kFirDown, kFirUp };

struct ResnetOptions {
  int64_t in_channels, out_channels, temb_channels;
  int64_t groups_in, groups_out;  ///< of the first and the second normalisation
  double eps = 1e-5;
  std::string act_fn = "silu";
  bool scale_shift =
      false;  ///< the time scales and shifts the second normalisation; else it is added before
  double dropout = 0;
  double output_scale = 1;  ///< the sum is divided by this
  Resample resample = Resample::kNone;
  bool always_shortcut = false;  ///< a 1x1 convolution on the shortcut even if the widths are equal
};

/// BigGAN's residual block, diffusers' ResnetBlock2D:
///   conv2(dropout(act(norm2(conv1(R(act(norm1(x)))) + time)))) + shortcut(R(x)).
class ResnetImpl : public torch::nn::Module {
 public:
  explicit ResnetImpl(const ResnetOptions& options);
  /// [x, beside] [N,in,H,W], of which `beside` may be undefined, `time` [N,temb] after the
  /// activation -> [N,out,H',W'].
  Tensor forward(Tensor x, const Tensor& time, Tensor beside = {}) const;
  /// Where dropout draws from, on the network's device; needed in training mode if dropout > 0.
  void set_dropout_generator(at::Generator generator) { generator_ = std::move(generator); }

 private:
  Tensor activate(const GroupNormArgs& norm, const Tensor& x) const;
  bool drops() const { return is_training() && options_.dropout > 0; }
  Tensor drop(const Tensor& h) const;

  ResnetOptions options_;
  Activation act_;
  GroupNorm norm1{nullptr}, norm2{nullptr};
  Conv conv1{nullptr}, conv2{nullptr}, conv_shortcut{nullptr};
  Linear time_emb_proj{nullptr};
  std::optional<at::Generator> generator_;
};
TORCH_MODULE(Resnet);

/// A 3x3 convolution with stride 2; padding 0 pads one zero right and bottom instead.
class DownsampleImpl : public torch::nn::Module {
 public:
  DownsampleImpl(int64_t channels, int64_t padding);
  Tensor forward(const Tensor& x) const;

 private:
  bool asymmetric_;
  Conv conv{nullptr};
};
TORCH_MODULE(Downsample);

/// Nearest neighbour, then a 3x3 convolution.
class UpsampleImpl : public torch::nn::Module {
 public:
  explicit UpsampleImpl(int64_t channels);
  Tensor forward(const Tensor& x) const;

 private:
  Conv conv{nullptr};
};
TORCH_MODULE(Upsample);

}  // namespace tweedie

#include "tweedie/nn/resnet.h"

#include <ATen/ATen.h>

#include "tweedie/core/error.h"
#include "tweedie/nn/fir.h"

namespace tweedie {
namespace {

// Autograd keeps an activation's input, so only without it may the input be overwritten.
Tensor silu(Tensor x) { return at::GradMode::is_enabled() ? at::silu(x) : at::silu_(x); }
Tensor mish(Tensor x) { return at::GradMode::is_enabled() ? at::mish(x) : at::mish_(x); }
Tensor gelu(Tensor x) { return at::GradMode::is_enabled() ? at::gelu(x) : at::gelu_(x); }
Tensor relu(Tensor x) { return at::relu_(x); }

Tensor resample(const Tensor& x, Resample how) {
  switch (how) {
    case Resample::kDown:
      return at::avg_pool2d(x, {2, 2});
    case Resample::kUp:
      return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}, 2.0, 2.0);
    case Resample::kFirDown:
      return fir_down(x);
    case Resample::kFirUp:
      return fir_up(x);
    case Resample::kNone:
      break;
  }
  return x;
}

}  // namespace

Activation find_activation(const std::string& act_fn) {
  if (act_fn == "silu" || act_fn == "swish") return silu;
  if (act_fn == "mish") return mish;
  if (act_fn == "gelu") return gelu;
  if (act_fn == "relu") return relu;
  fail_unknown("act_fn", act_fn, {"silu", "swish", "mish", "gelu", "relu"});
}

ResnetImpl::ResnetImpl(const ResnetOptions& o) : options_(o), act_(find_activation(o.act_fn)) {
  norm1 = register_module("norm1", GroupNorm(o.groups_in, o.in_channels, o.eps));
  conv1 = register_module("conv1", Conv(o.in_channels, o.out_channels, 3, 1, 1));
  time_emb_proj =
      register_module("time_emb_proj",
                      Linear(o.temb_channels, o.scale_shift ? 2 * o.out_channels : o.out_channels));
  norm2 = register_module("norm2", GroupNorm(o.groups_out, o.out_channels, o.eps));
  conv2 = register_module("conv2", Conv(o.out_channels, o.out_channels, 3, 1, 1));
  if (o.always_shortcut || o.in_channels != o.out_channels)
    conv_shortcut = register_module("conv_shortcut", Conv(o.in_channels, o.out_channels, 1, 1, 0));
}

// Normalisation, SiLU, convolution and the sums after it are one operation where they follow each
// other.
Tensor ResnetImpl::forward(Tensor x, const Tensor& time, Tensor beside) const {
  const bool fused = act_ == silu;
  const bool reads_two = conv_shortcut && fused && options_.resample == Resample::kNone;
  if (beside.defined() && !(reads_two && runs_on_kernels(x))) {
    x = at::cat({x, beside}, 1);
    beside.reset();
  }
  Tensor shortcut = resample(x, options_.resample);
  if (conv_shortcut) shortcut = conv_shortcut->forward(shortcut, beside);
  const Tensor t = time_emb_proj->forward(time);

  ConvExtras first{.upsample = options_.resample == Resample::kUp};
  if (!options_.scale_shift) first.image_bias = t;
  GroupNormArgs norm = norm1->args();
  norm.silu = fused;
  const bool in_between = options_.resample != Resample::kNone && !first.upsample;
  if (fused && !in_between) {
    first.norm = norm, first.beside = beside;
  } else {
    x = activate(norm, x);
    if (in_between) x = resample(x, options_.resample);
  }
  Tensor h = conv1->forward(x, first);
  x.reset(), beside.reset(), first = {};

  norm = norm2->args();
  norm.silu = fused;
  if (options_.scale_shift) {
    const auto parts = t.chunk(2, 1);
    norm.scale = parts[0], norm.shift = parts[1];
  }
  ConvExtras second{.residual = shortcut};
  if (fused && !drops()) {
    second.norm = norm;
  } else {
    h = drop(activate(norm, h));
  }
  h = conv2->forward(h, second);
  return options_.output_scale == 1 ? h : h.div_(options_.output_scale);
}

Tensor ResnetImpl::activate(const GroupNormArgs& norm, const Tensor& x) const {
  Tensor h = group_norm(x, norm);
  return norm.silu ? h : act_(std::move(h));
}

Tensor ResnetImpl::drop(const Tensor& h) const {
  if (!drops()) return h;
  const double p = options_.dropout;
  if (!generator_) fail("[unet] dropout {} in training mode needs set_dropout_generator", p);
  if (p == 1) return at::mul(h, 0);
  const Tensor kept =
      at::empty(h.sizes(), h.options().dtype(at::kBool)).bernoulli_(1 - p, generator_);
  return at::mul(h, kept).mul_(1 / (1 - p));
}

DownsampleImpl::DownsampleImpl(int64_t channels, int64_t padding) : asymmetric_(padding == 0) {
  conv = register_module("conv", Conv(channels, channels, 3, 2, padding));
}
Tensor DownsampleImpl::forward(const Tensor& x) const {
  return conv->forward(asymmetric_ ? at::constant_pad_nd(x, {0, 1, 0, 1}) : x);
}

UpsampleImpl::UpsampleImpl(int64_t channels) {
  conv = register_module("conv", Conv(channels, channels, 3, 1, 1));
}
Tensor UpsampleImpl::forward(const Tensor& x) const { return conv->forward(x, {.upsample = true}); }

}  // namespace tweedie

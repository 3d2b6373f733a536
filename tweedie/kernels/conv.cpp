#include "tweedie/kernels/conv.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/winograd.h"

namespace tweedie {
namespace {

using kernels::Conv3x3Shape;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

Tensor like(const Tensor& x, int64_t channels) {
  return at::empty({x.size(0), channels, x.size(2), x.size(3)},
                   x.options().memory_format(at::MemoryFormat::ChannelsLast));
}

Conv3x3Shape shape_of(const Tensor& x, int64_t out) {
  return {x.size(0), x.size(2), x.size(3), x.size(1), out};
}

// The filter [out,in,3,3] transformed; with `flip` that of the gradient of the input.
Tensor transformed(const Tensor& weight, bool flip) {
  const int from = flip ? 0 : 1, to = flip ? 1 : 0;
  const int64_t c = weight.size(from), k = weight.size(to);
  Tensor out = at::empty({kernels::winograd_weight_size(c, k)}, weight.options());
  kernels::winograd_weights(
      weight.data_ptr<float>(),
      {weight.stride(to), weight.stride(from), weight.stride(2), weight.stride(3)}, c, k, flip,
      out.data_ptr<float>(), kernels::on_torch_threads);
  return out;
}

Tensor run(const Tensor& x, const Tensor& filter, int64_t out, const float* bias) {
  Tensor y = like(x, out);
  kernels::winograd_conv(shape_of(x, out), x.data_ptr<float>(), filter.data_ptr<float>(), bias,
                         y.data_ptr<float>(), kernels::on_torch_threads);
  return y;
}

struct Winograd : torch::autograd::Function<Winograd> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_any, const Tensor& weight,
                        const std::optional<Tensor>& bias) {
    const Tensor x = channels_last(x_any);
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value();
    const Tensor b = bias ? bias->contiguous() : Tensor();
    return run(x, transformed(weight, false), weight.size(0),
               b.defined() ? b.data_ptr<float>() : nullptr);
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    const bool wants_x = ctx->needs_input_grad(0), wants_w = ctx->needs_input_grad(1);
    const bool wants_b = ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2);
    if (at::GradMode::is_enabled()) {  // create_graph: only the stock operation can be derived
                                       // again
      const auto [dx, dw, db] = at::convolution_backward(
          gradients[0], x, weight, at::OptionalIntArrayRef({weight.size(0)}), {1, 1}, {1, 1},
          {1, 1}, false, {0, 0}, 1, {wants_x, wants_w, wants_b});
      return {dx, dw, db};
    }
    const Tensor dy = channels_last(gradients[0]);
    variable_list out(3);
    if (wants_x) out[0] = run(dy, transformed(weight, true), x.size(1), nullptr);
    if (wants_w) {
      out[1] = at::empty_like(weight);
      kernels::winograd_filter_gradient(
          shape_of(x, dy.size(1)), x.data_ptr<float>(), dy.data_ptr<float>(),
          out[1].data_ptr<float>(),
          {weight.stride(0), weight.stride(1), weight.stride(2), weight.stride(3)},
          kernels::on_torch_threads);
    }
    if (wants_b) out[2] = dy.sum({0, 2, 3});
    return out;
  }
};

}  // namespace

ConvPlan plan_conv3x3(int64_t in, int64_t out, int64_t height, int64_t width) {
  // The transforms cost as much as 16 channels of products; a map of 4x4 gives too few tiles to
  // share the filter's.
  return in >= 16 && out >= 16 && height * width > 16 ? ConvPlan::kWinograd : ConvPlan::kStock;
}

Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const auto plain = [](const Tensor& t) { return t.is_cpu() && t.scalar_type() == at::kFloat; };
  const bool ours =
      plain(x) && plain(weight) && (!bias.defined() || plain(bias)) &&
      !at::autocast::is_autocast_enabled(at::kCPU) && x.dim() == 4 && x.numel() > 0 &&
      weight.dim() == 4 && weight.size(1) == x.size(1) && weight.size(2) == 3 &&
      weight.size(3) == 3 &&
      plan_conv3x3(x.size(1), weight.size(0), x.size(2), x.size(3)) == ConvPlan::kWinograd;
  if (!ours) return at::conv2d(x, weight, bias, 1, 1);
  return Winograd::apply(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

}  // namespace tweedie

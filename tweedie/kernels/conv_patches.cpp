#include "tweedie/kernels/conv_patches.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/again.h"
#include "tweedie/kernels/group_norm.h"
#include "tweedie/kernels/matmul.h"
#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::PatchShape shape_of(const Tensor& x, const Tensor& weight, int64_t stride,
                             int64_t padding) {
  return {x.size(0), x.size(2), x.size(3), x.size(1), weight.size(2), stride, padding};
}

Tensor stock(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t stride,
             int64_t padding) {
  return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
}

double flop_of(const Tensor& y, const kernels::PatchShape& shape) {
  return 2.0 * double(y.numel()) * double(shape.depth());
}

// Forward by LibTorch, whose filters need no packing, backward by products of patches.
struct FewPatches : torch::autograd::Function<FewPatches> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const MaybeTensor& bias, int64_t stride, int64_t padding) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["stride"] = stride, ctx->saved_data["padding"] = padding;
    ctx->saved_data["bias"] = bias.has_value();
    return stock(x, weight, or_undefined(bias), stride, padding);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list v = ctx->get_saved_variables();
    const Tensor &x = v[0], &weight = v[1];
    const int64_t stride = ctx->saved_data["stride"].toInt();
    const int64_t padding = ctx->saved_data["padding"].toInt();
    variable_list out(5);
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2))
      out[2] = gradients[0].sum({0, 2, 3});
    if (at::GradMode::is_enabled()) {
      const variable_list d = derivable_gradients(
          {x, weight}, gradients[0], [&] { return stock(x, weight, {}, stride, padding); });
      out[0] = d[0], out[1] = d[1];
      return out;
    }
    const kernels::PatchShape shape = shape_of(x, weight, stride, padding);
    const Tensor dy = channels_last(gradients[0]);
    const auto like = [](const Tensor& t) {
      return at::empty_like(t, t.options(), at::MemoryFormat::ChannelsLast);
    };
    if (ctx->needs_input_grad(0)) {
      RECORD_FUNCTION("tweedie::conv3x3_backward", flop(flop_of(dy, shape)));
      const Tensor w = channels_last(weight);
      out[0] = like(x);
      kernels::patches_input_gradient(shape, dy.size(1), dy.data_ptr<float>(), w.data_ptr<float>(),
                                      out[0].data_ptr<float>(), kernels::on_torch_threads);
    }
    if (ctx->needs_input_grad(1)) {
      RECORD_FUNCTION("tweedie::conv3x3_backward", flop(flop_of(dy, shape)));
      const Tensor from = channels_last(x);
      out[1] = like(weight);
      kernels::patches_filter_gradient(shape, dy.size(1), from.data_ptr<float>(),
                                       dy.data_ptr<float>(), out[1].data_ptr<float>(),
                                       kernels::on_torch_threads);
    }
    return out;
  }
};

// Measured: where LibTorch has too little to do to be fast.
bool few(const kernels::PatchShape& shape, int64_t out) {
  return shape.kernel == 3 && shape.stride == 1 && shape.c >= 64 && out >= 64 &&
         shape.n * shape.side(shape.h) * shape.side(shape.w) <= 128;
}

}  // namespace

Tensor conv_patches(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t stride,
                    int64_t padding, WeightCache& cache) {
  const int64_t out = weight.size(0);
  const kernels::PatchShape shape = shape_of(x, weight, stride, padding);
  const int64_t height = shape.side(shape.h), width = shape.side(shape.w);
  const bool ours = runs_on_kernels(x) && runs_on_kernels(weight) && weight.size(1) == shape.c &&
                    weight.size(3) == shape.kernel && height >= 1 && width >= 1;
  if (at::GradMode::is_enabled() || !ours) {
    cache.drop();  // the weights are about to change
    if (ours && few(shape, out)) return FewPatches::apply(x, weight, maybe(bias), stride, padding);
    return stock(x, weight, bias, stride, padding);
  }
  const Tensor packed = cache.find(weight, [&] {
    const Tensor w = weight.permute({0, 2, 3, 1}).reshape({out, shape.depth()});
    Tensor to = at::empty({kernels::matmul_weight_size(shape.depth(), out)}, w.options());
    kernels::matmul_weights(w.data_ptr<float>(), {w.stride(0), w.stride(1)}, shape.depth(), out,
                            to.data_ptr<float>(), kernels::on_torch_threads);
    return to;
  });
  const Tensor from = channels_last(x), sum = bias.defined() ? bias.contiguous() : bias;
  Tensor y = at::empty({shape.n, out, height, width},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  RECORD_FUNCTION(
      shape.kernel == 3 && stride == 1 ? "tweedie::conv3x3_patches" : "tweedie::conv_patches",
      flop(flop_of(y, shape)));
  kernels::matmul_patches(shape, out, from.data_ptr<float>(), packed.data_ptr<float>(),
                          sum.defined() ? sum.data_ptr<float>() : nullptr, y.data_ptr<float>(),
                          kernels::on_torch_threads);
  return y;
}

}  // namespace tweedie

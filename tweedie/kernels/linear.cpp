#include "tweedie/kernels/linear.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/again.h"
#include "tweedie/kernels/matmul.h"
#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

using kernels::MatmulShape;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// With fewer rows it does not pay to pack the weights for one product.
constexpr int64_t kLeastRows = 64;

Tensor stacked(at::ArrayRef<Tensor> parts) { return parts.size() == 1 ? parts[0] : at::cat(parts); }
Tensor plain(const Tensor& t) { return t.defined() ? t.contiguous() : t; }
int64_t features(const Tensor& t) { return t.defined() ? t.size(-1) : 0; }
const float* pointer(const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; }

// w [out,in], or a part of its columns, packed.
Tensor packed(const Tensor& w) {
  Tensor out = at::empty({kernels::matmul_weight_size(w.size(1), w.size(0))}, w.options());
  kernels::matmul_weights(w.data_ptr<float>(), {w.stride(0), w.stride(1)}, w.size(1), w.size(0),
                          out.data_ptr<float>(), kernels::on_torch_threads);
  return out;
}

MatmulShape shape_of(const Tensor& x, int64_t in, int64_t out) {
  return {x.numel() / x.size(-1), in, out};
}
double flop_of(const MatmulShape& s) { return 2.0 * double(s.rows) * double(s.in) * double(s.out); }

// All without gaps; `matrix` is packed and has `out` rows.
Tensor compute(const Tensor& x, const Tensor& beside, const float* matrix, int64_t out,
               const Tensor& bias, const Tensor& residual) {
  const int64_t extra = features(beside);
  const MatmulShape shape = shape_of(x, x.size(-1) + extra, out);
  RECORD_FUNCTION("tweedie::linear", flop(flop_of(shape)));
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = out;
  Tensor y = at::empty(sizes, x.options());
  kernels::matmul(shape, {pointer(x), pointer(beside), extra}, matrix, pointer(bias),
                  pointer(residual), y.data_ptr<float>(), kernels::on_torch_threads);
  return y;
}

Tensor stock(const Tensor& x, const Tensor& beside, const Tensor& w, const Tensor& bias,
             const Tensor& residual) {
  const int64_t own = x.size(-1), extra = features(beside);
  Tensor y = at::linear(x, extra > 0 ? w.narrow(1, 0, own) : w, bias);
  if (extra > 0) y.add_(at::linear(beside, w.narrow(1, own, extra)));
  return residual.defined() ? residual + y : y;
}

struct Affine : torch::autograd::Function<Affine> {
  // x, `beside` and the residual have no gaps.
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& w, const Tensor& bias,
                        const MaybeTensor& beside, const MaybeTensor& residual) {
    ctx->save_for_backward({x, w, or_undefined(beside)});
    ctx->saved_data["residual"] = residual.has_value();
    return compute(x, or_undefined(beside), packed(w).data_ptr<float>(), w.size(0),
                   bias.contiguous(), or_undefined(residual));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list v = ctx->get_saved_variables();
    const Tensor &x = v[0], &w = v[1], &beside = v[2];
    enum { kX, kWeight, kBias, kBeside, kResidual, kCount };
    variable_list out(kCount);
    if (ctx->saved_data["residual"].toBool()) out[kResidual] = gradients[0];
    const Tensor dy = gradients[0].contiguous();
    out[kBias] = dy.flatten(0, -2).sum(0);
    if (at::GradMode::is_enabled()) {
      const variable_list d = derivable_gradients({x, w, beside}, gradients[0],
                                                  [&] { return stock(x, beside, w, {}, {}); });
      out[kX] = d[0], out[kWeight] = d[1], out[kBeside] = d[2];
      return out;
    }
    const int64_t own = features(x), extra = features(beside);
    const auto gradient = [&](int64_t first, int64_t count) {
      const Tensor back = packed(w.narrow(1, first, count).t());
      return compute(dy, {}, back.data_ptr<float>(), count, {}, {});
    };
    if (ctx->needs_input_grad(kX)) out[kX] = gradient(0, own);
    if (extra > 0 && ctx->needs_input_grad(kBeside)) out[kBeside] = gradient(own, extra);
    if (ctx->needs_input_grad(kWeight)) {
      const MatmulShape shape = shape_of(x, own + extra, w.size(0));
      RECORD_FUNCTION("tweedie::linear", flop(flop_of(shape)));
      out[kWeight] = at::empty(w.sizes(), w.options());
      kernels::matmul_weight_gradient(shape, {pointer(x), pointer(beside), extra},
                                      dy.data_ptr<float>(), out[kWeight].data_ptr<float>(),
                                      kernels::on_torch_threads);
    }
    return out;
  }
};

bool is_ours(const Tensor& x, const Tensor& weight) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat &&
         x.numel() > 0 && !at::autocast::is_autocast_enabled(at::kCPU) &&
         (!at::GradMode::is_enabled() || x.numel() / x.size(-1) >= kLeastRows);
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& beside, at::ArrayRef<Tensor> weights,
              at::ArrayRef<Tensor> biases, const Tensor& residual, WeightCache& cache) {
  const bool ours = is_ours(x, weights[0]);
  if (!ours || at::GradMode::is_enabled()) {
    cache.drop();  // the weights are about to change
    const Tensor w = stacked(weights), b = stacked(biases);
    if (!ours) return stock(x, beside, w, b, residual);
    return Affine::apply(x.contiguous(), w, b, maybe(plain(beside)), maybe(plain(residual)));
  }
  std::vector<Tensor> all = weights.vec();
  all.insert(all.end(), biases.begin(), biases.end());
  // The matrix and after it the bias.
  const Tensor made = cache.find(all, [&] {
    return at::cat({packed(stacked(weights)), stacked(biases)});
  });
  int64_t out = 0;
  for (const Tensor& w : weights) out += w.size(0);
  return compute(x.contiguous(), plain(beside), made.data_ptr<float>(), out,
                 made.narrow(0, made.size(0) - out, out), plain(residual));
}

}  // namespace tweedie

#include "tweedie/kernels/linear.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "tweedie/kernels/matmul.h"
#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

Tensor stacked(at::ArrayRef<Tensor> parts) { return parts.size() == 1 ? parts[0] : at::cat(parts); }

// The packed weights and after them the bias.
Tensor packed(at::ArrayRef<Tensor> weights, at::ArrayRef<Tensor> biases) {
  const Tensor w = stacked(weights).contiguous(), b = stacked(biases);
  const int64_t size = kernels::matmul_weight_size(w.size(1), w.size(0));
  Tensor out = at::empty({size + w.size(0)}, w.options());
  kernels::matmul_weights(w.data_ptr<float>(), w.size(1), w.size(0), out.data_ptr<float>(),
                          kernels::on_torch_threads);
  out.narrow(0, size, w.size(0)).copy_(b);
  return out;
}

bool is_ours(const Tensor& x, const Tensor& weight) {
  return !at::GradMode::is_enabled() && x.is_cpu() && x.scalar_type() == at::kFloat &&
         weight.scalar_type() == at::kFloat && x.numel() > 0 &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

}  // namespace

Tensor linear(const Tensor& x_any, const Tensor& beside_any, at::ArrayRef<Tensor> weights,
              at::ArrayRef<Tensor> biases, const Tensor& residual, WeightCache& cache) {
  const int64_t extra = beside_any.defined() ? beside_any.size(-1) : 0;
  const int64_t own = x_any.size(-1), in = own + extra;
  if (!is_ours(x_any, weights[0])) {
    cache.drop();
    const Tensor w = stacked(weights), b = stacked(biases);
    Tensor y = at::linear(x_any, extra > 0 ? w.narrow(1, 0, own) : w, b);
    if (extra > 0) y.add_(at::linear(beside_any, w.narrow(1, own, extra)));
    return residual.defined() ? residual + y : y;
  }
  std::vector<Tensor> all = weights.vec();
  all.insert(all.end(), biases.begin(), biases.end());
  const Tensor made = cache.find(all, [&] { return packed(weights, biases); });
  const auto plain = [](const Tensor& t) { return t.defined() ? t.contiguous() : t; };
  const Tensor x = x_any.contiguous(), beside = plain(beside_any), add = plain(residual);
  const auto pointer = [](const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; };
  std::vector<int64_t> sizes = x.sizes().vec();
  int64_t out = 0;
  for (const Tensor& w : weights) out += w.size(0);
  sizes.back() = out;
  const kernels::MatmulShape shape{x.numel() / own, in, out};
  RECORD_FUNCTION("tweedie::linear", flop(2.0 * double(shape.rows) * double(in) * double(out)));
  Tensor y = at::empty(sizes, x.options());
  const float* filter = made.data_ptr<float>();
  kernels::matmul(shape, {pointer(x), pointer(beside), extra}, filter,
                  filter + kernels::matmul_weight_size(in, out), pointer(add), y.data_ptr<float>(),
                  kernels::on_torch_threads);
  return y;
}

}  // namespace tweedie

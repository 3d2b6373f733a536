#include "tweedie/nn/embedding.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/error.h"

namespace tweedie {

Tensor spread(const char* what, const Tensor& values, const Tensor& x) {
  const int64_t n = x.size(0);
  if (values.numel() != 1 && (values.dim() != 1 || values.size(0) != n))
    fail("{} has shape [{}], expected one value or [{}]", what, fmt::join(values.sizes(), ","), n);
  return values.to(x.device()).reshape({-1}).expand({n});
}

void check_range(const char* what, const Tensor& index, int64_t count) {
  if (!at::isIntegralType(index.scalar_type(), /*includeBool=*/false))
    fail("{} is {}, expected whole numbers", what, c10::toString(index.scalar_type()));
  if (!index.device().is_cpu() || index.numel() == 0) return;
  const int64_t least = index.min().item<int64_t>(), most = index.max().item<int64_t>();
  if (least < 0 || most >= count)
    fail("{} {}: out of range, known: 0..{}", what, least < 0 ? least : most, count - 1);
}

// float32 in this order of operations, as diffusers has it: at t = 999 another rounding would show.
Tensor sinusoid(const Tensor& t, int64_t width, bool flip_sin_to_cos, int64_t freq_shift) {
  const int64_t half = width / 2;
  const Tensor k = at::arange(half, t.options().dtype(at::kFloat));
  const Tensor f = at::exp(-std::log(10000.0) * k / static_cast<double>(half - freq_shift));
  const Tensor phase = t.to(at::kFloat).unsqueeze(1) * f;
  const Tensor sin = at::sin(phase), cos = at::cos(phase);
  const Tensor e = flip_sin_to_cos ? at::cat({cos, sin}, 1) : at::cat({sin, cos}, 1);
  return width % 2 ? at::constant_pad_nd(e, {0, 1}) : e;
}

FourierImpl::FourierImpl(int64_t width) {
  weight = register_parameter("weight", at::empty({width}), /*requires_grad=*/false);
}
Tensor FourierImpl::forward(const Tensor& sigma) const {
  const Tensor phase = at::log(sigma).unsqueeze(1) * weight * 2 * std::numbers::pi;
  return at::cat({at::sin(phase), at::cos(phase)}, 1);
}
void FourierImpl::draw(Rng rng) {
  Tensor values = at::empty(weight.sizes(), at::kFloat);
  rng.fill_normal(values.data_ptr<float>(), values.numel());
  weight.copy_(values.mul_(16));
}

EmbeddingMlpImpl::EmbeddingMlpImpl(int64_t in, int64_t out) {
  linear_1 = register_module("linear_1", Linear(in, out));
  linear_2 = register_module("linear_2", Linear(out, out));
}
Tensor EmbeddingMlpImpl::forward(const Tensor& x) const {
  return linear_2->forward(at::silu(linear_1->forward(x)));
}

}  // namespace tweedie

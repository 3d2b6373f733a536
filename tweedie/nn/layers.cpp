#include "tweedie/nn/layers.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/types.h>

#include <cmath>

#include "tweedie/kernels/conv_patches.h"

namespace tweedie {
namespace {

template <class Draw>
void fill(Tensor& parameter, Draw draw) {
  const Tensor values = at::empty(parameter.sizes(), at::kFloat);
  float* out = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) out[i] = draw();
  const at::NoGradGuard no_grad;
  parameter.copy_(values);
}

// He et al. 2015 with a = sqrt(5), as PyTorch has it: weight and bias uniform in +-1/sqrt(fan_in).
void draw_uniform(Tensor& weight, Tensor& bias, Rng rng) {
  const float bound = 1 / std::sqrt(static_cast<float>(weight[0].numel()));
  const auto uniform = [&] { return bound * (static_cast<float>(rng.bits() >> 8) * 0x1p-23f - 1); };
  fill(weight, uniform);
  fill(bias, uniform);
}

}  // namespace

void initialise(torch::nn::Module& module, uint64_t seed) {
  for (const auto& item : module.named_modules("", /*include_self=*/false))
    if (auto* layer = dynamic_cast<LayerImpl*>(item.value().get()))
      layer->draw(Rng(seed, stream_of("initialise " + item.key())));
}

ConvImpl::ConvImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding)
    : stride_(stride), padding_(padding) {
  // In the images' order: the stock convolution would bring it there in every step.
  weight = register_parameter("weight", at::empty({out, in, kernel, kernel}, at::TensorOptions(),
                                                  at::MemoryFormat::ChannelsLast));
  bias = register_parameter("bias", at::empty({out}));
}
Tensor ConvImpl::forward(const Tensor& x, const Tensor& beside) const {
  if (is_3x3()) return forward(x, {.beside = beside});
  RECORD_FUNCTION("tweedie::conv", record(x, false));
  const auto rows = [](const Tensor& t) { return t.defined() ? t.permute({0, 2, 3, 1}) : t; };
  const bool pointwise = weight.size(2) == 1 && stride_ == 1 && padding_ == 0;
  if (pointwise && runs_on_kernels(x))  // channels last, a pixel is a row of a matrix
    return linear(rows(x), rows(beside), weight.flatten(1), bias, {}, matrix_)
        .permute({0, 3, 1, 2});
  const Tensor all = beside.defined() ? at::cat({x, beside}, 1) : x;
  return conv_patches(all, weight, bias, stride_, padding_, matrix_);
}
Tensor ConvImpl::forward(const Tensor& x, ConvExtras extras) const {
  RECORD_FUNCTION("tweedie::conv", record(x, extras.upsample));
  extras.cache = &filter_, extras.plans = plans_.get();
  return conv3x3(x, weight, bias, extras);
}
std::vector<c10::IValue> ConvImpl::record(const Tensor& x, bool upsample) const {
  return {x, weight, stride_, padding_, upsample};
}
void ConvImpl::draw(Rng rng) { draw_uniform(weight, bias, rng); }

LinearImpl::LinearImpl(int64_t in, int64_t out) {
  weight = register_parameter("weight", at::empty({out, in}));
  bias = register_parameter("bias", at::empty({out}));
}
Tensor LinearImpl::forward(const Tensor& x, const Tensor& residual) const {
  return linear(x, {}, weight, bias, residual, cache_);
}
void LinearImpl::draw(Rng rng) { draw_uniform(weight, bias, rng); }

GroupNormImpl::GroupNormImpl(int64_t groups, int64_t channels, double eps)
    : groups_(groups), eps_(eps) {
  TORCH_CHECK(groups > 0 && channels % groups == 0, channels, " channels in ", groups, " groups");
  weight = register_parameter("weight", at::ones({channels}));
  bias = register_parameter("bias", at::zeros({channels}));
}
Tensor GroupNormImpl::forward(const Tensor& x) const { return group_norm(x, args()); }
GroupNormArgs GroupNormImpl::args() const {
  return {.groups = groups_, .eps = eps_, .weight = weight, .bias = bias};
}
void GroupNormImpl::draw(Rng) {
  const at::NoGradGuard no_grad;
  weight.fill_(1);
  bias.zero_();
}

EmbeddingImpl::EmbeddingImpl(int64_t count, int64_t width) {
  weight = register_parameter("weight", at::empty({count, width}));
}
Tensor EmbeddingImpl::forward(const Tensor& index) const { return at::embedding(weight, index); }
void EmbeddingImpl::draw(Rng rng) {
  fill(weight, [&] { return static_cast<float>(rng.normal()); });
}

}  // namespace tweedie

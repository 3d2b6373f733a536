#include "tweedie/kernels/tune.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>

#include "tweedie/core/rng.h"

namespace tweedie {
namespace {

Tensor random(at::IntArrayRef sizes, at::MemoryFormat format) {
  Tensor out = at::empty(sizes, at::TensorOptions(at::kFloat).memory_format(format));
  Rng(0, stream_of("tune")).fill_normal(out.data_ptr<float>(), out.numel());
  return out;
}

}  // namespace

ConvTimes time_conv3x3(const ConvShape& s, int64_t batch, bool gradients) {
  const at::AutoGradMode mode(gradients);
  const auto last = at::MemoryFormat::ChannelsLast;
  const Tensor x = random({batch, s.in, s.height, s.width}, last).requires_grad_(gradients);
  const Tensor dy = random({batch, s.out, s.height, s.width}, last);
  const Tensor weight =
      random({s.out, s.in, 3, 3}, at::MemoryFormat::Contiguous).requires_grad_(gradients);
  const Tensor bias = at::zeros({s.out}).requires_grad_(gradients);
  FilterCache cache;  // as a layer has one

  const auto time = [&](ConvPlan plan) {
    const ConvPlans plans{{s, plan}};
    const auto start = std::chrono::steady_clock::now();
    const Tensor y = conv3x3(x, weight, bias, {.cache = &cache, .plans = &plans});
    if (gradients) y.backward(dy);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    for (const Tensor& t : {x, weight, bias}) t.mutable_grad() = Tensor();
    return took.count();
  };
  time(ConvPlan::kStock), time(ConvPlan::kWinograd);
  ConvTimes best{1e9, 1e9};
  for (int round = 0; round < 3; ++round) {
    best.stock = std::min(best.stock, time(ConvPlan::kStock));
    best.winograd = std::min(best.winograd, time(ConvPlan::kWinograd));
  }
  return best;
}

}  // namespace tweedie

#include "tweedie/nn/monotone.h"

#include <ATen/ATen.h>
#include <torch/types.h>

#include <cmath>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

double softplus_inverse(double y) { return std::log(std::expm1(y)); }

}  // namespace

MonotoneImpl::MonotoneImpl(double first, double last, int64_t width, uint64_t seed) {
  if (!(first < last) || !std::isfinite(last - first))
    fail("[nn] a schedule's -ln SNR must rise: it goes from {} to {}", first, last);
  if (width < 1) fail("[nn] a monotone network of width {}: expected 1 or more", width);
  const auto parameter = [&](const char* name, const Tensor& value) {
    return register_parameter(name, value);
  };
  g0 = parameter("g0", at::full({}, first, at::kDouble));
  g1 = parameter("g1", at::full({}, last, at::kDouble));
  skip = parameter("skip", at::empty({}, at::kDouble));
  slope = parameter("slope", at::empty({width}, at::kDouble));
  bias = parameter("bias", at::empty({width}, at::kDouble));
  height = parameter("height", at::empty({width}, at::kDouble));
  draw(Rng(seed, stream_of("initialise monotone")));
}

void MonotoneImpl::draw(Rng rng) {
  const at::NoGradGuard no_grad;
  const int64_t width = slope.numel();
  skip.fill_(softplus_inverse(1));
  height.fill_(softplus_inverse(0.5 / static_cast<double>(width)));
  for (int64_t j = 0; j < width; ++j) {
    const double u = 4 * std::pow(10, rng.uniform());
    const double place = (static_cast<double>(j) + rng.uniform()) / static_cast<double>(width);
    slope[j].fill_(softplus_inverse(u));
    bias[j].fill_(-u * place);
  }
}

Tensor MonotoneImpl::h(const Tensor& t) const {
  const Tensor steps = at::sigmoid(at::softplus(slope) * t.unsqueeze(-1) + bias);
  return at::softplus(skip) * t +
         (at::softplus(height) * steps).sum(-1);  // VDM, its appendix on the schedule
}

Tensor MonotoneImpl::forward(const Tensor& t) const {
  const Tensor low = h(at::zeros({}, t.options())), high = h(at::ones({}, t.options()));
  return g0 + (g1 - g0) * (h(t) - low) / (high - low);  // VDM, its appendix on the schedule
}

}  // namespace tweedie

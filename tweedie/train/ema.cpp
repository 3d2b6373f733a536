#include "tweedie/train/ema.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace tweedie {

Ema::Ema(std::vector<Tensor> parameters, const TrainOptions& options)
    : parameters_(std::move(parameters)), decay_(options.ema_decay), warmup_(options.ema_warmup) {
  for (const Tensor& p : parameters_) mean_.push_back(p.detach().clone());
}

double Ema::decay(int64_t t) const {
  return warmup_ ? std::min(decay_, (1.0 + double(t)) / (10.0 + double(t))) : decay_;
}

void Ema::update(int64_t t) {
  at::NoGradGuard no_grad;
  at::_foreach_lerp_(mean_, parameters_, 1 - decay(t));
}

void Ema::load(const std::vector<Tensor>& tensors) {
  TORCH_CHECK(tensors.size() == mean_.size());
  for (size_t i = 0; i < mean_.size(); ++i) mean_[i].copy_(tensors[i]);
}

void Ema::swap() {
  for (size_t i = 0; i < mean_.size(); ++i) {
    const Tensor raw = parameters_[i].detach();
    parameters_[i].set_data(mean_[i]);
    mean_[i] = raw;
  }
}

}  // namespace tweedie

#include "tweedie/train/optimizer.h"

#include <ATen/ATen.h>

#include "tweedie/core/error.h"

namespace tweedie {

AdamW::AdamW(Parameters parameters, const TrainOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  at::NoGradGuard no_grad;
  for (const Tensor& p : parameters_.tensors) {
    m_.push_back(at::zeros_like(p));
    v_.push_back(at::zeros_like(p));
  }
}

std::vector<Tensor> AdamW::gradients() const {
  std::vector<Tensor> out;
  for (size_t i = 0; i < parameters_.tensors.size(); ++i) {
    out.push_back(parameters_.tensors[i].grad());
    TORCH_CHECK(out.back().defined(), parameters_.names[i], " has no gradient");
  }
  return out;
}

void AdamW::step(double learning_rate, int64_t k) {
  at::NoGradGuard no_grad;
  const auto& p = parameters_.tensors;
  // The op reads the step from one tensor a parameter; they may be one and the same.
  const std::vector<Tensor> steps(
      p.size(), at::full({}, double(k), at::TensorOptions(at::kFloat).device(p[0].device())));
  at::_fused_adamw_(p, gradients(), m_, v_, /*max_exp_avg_sqs=*/{}, steps, learning_rate,
                    options_.beta1, options_.beta2, options_.weight_decay, options_.epsilon,
                    /*amsgrad=*/false, /*maximize=*/false);
}

Tensor AdamW::gradient_norm() const {
  at::NoGradGuard no_grad;
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients(), 2)));
}

void AdamW::clip(double norm, double max_norm) {
  if (norm <= max_norm) return;
  at::NoGradGuard no_grad;
  at::_foreach_mul_(gradients(), max_norm / norm);
}

void AdamW::zero_grad() {
  for (Tensor& p : parameters_.tensors) p.mutable_grad() = Tensor();
}

TensorMap AdamW::state() const {
  TensorMap out;
  for (size_t i = 0; i < m_.size(); ++i) {
    out["exp_avg." + parameters_.names[i]] = m_[i];
    out["exp_avg_sq." + parameters_.names[i]] = v_[i];
  }
  return out;
}

void AdamW::load(const TensorMap& state, const std::string& source) {
  at::NoGradGuard no_grad;
  for (auto& [name, tensor] : this->state()) {
    const auto found = state.find(name);
    if (found == state.end()) fail("[train] {}: {} is missing", source, name);
    if (found->second.sizes() != tensor.sizes())
      fail("[train] {}: {} has {} numbers and needs {}", source, name, found->second.numel(),
           tensor.numel());
    tensor.copy_(found->second);
  }
}

}  // namespace tweedie

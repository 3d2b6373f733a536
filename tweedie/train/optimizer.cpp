#include "tweedie/train/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "tweedie/core/error.h"
#include "tweedie/kernels/adamw.h"
#include "tweedie/kernels/record.h"
#include "tweedie/train/ema.h"

namespace tweedie {
namespace {

// Whether the numbers of both lie in memory in the same order.
bool same_layout(const Tensor& a, const Tensor& b) {
  if (a.sizes() != b.sizes()) return false;
  for (int64_t d = 0; d < a.dim(); ++d)
    if (a.size(d) != 1 && a.stride(d) != b.stride(d)) return false;
  return true;
}

// The numbers of p or of a companion of p, to be written in place, which autograd is told.
float* numbers(const Tensor& t, const Tensor& p) {
  TORCH_CHECK(same_layout(t, p), "parameters have changed their layout since training began");
  t.unsafeGetTensorImpl()->bump_version();
  return t.mutable_data_ptr<float>();
}

}  // namespace

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 && norm > max_norm ? max_norm / norm : 1;
}

AdamW::AdamW(Parameters parameters, const TrainOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  at::NoGradGuard no_grad;
  for (const Tensor& p : parameters_.tensors) {
    TORCH_CHECK(p.is_non_overlapping_and_dense(), "parameters must be dense");
    m_.push_back(at::zeros_like(p));
    v_.push_back(at::zeros_like(p));
  }
  own_kernel_ = std::ranges::all_of(parameters_.tensors, [](const Tensor& p) {
    return p.is_cpu() && p.scalar_type() == at::kFloat;
  });
}

std::vector<Tensor> AdamW::gradients() const {
  std::vector<Tensor> out;
  for (size_t i = 0; i < parameters_.tensors.size(); ++i) {
    const Tensor &p = parameters_.tensors[i], &g = p.grad();
    TORCH_CHECK(g.defined(), parameters_.names[i], " has no gradient");
    // Our kernel and LibTorch's both take the numbers in the order in which they lie in memory.
    out.push_back(same_layout(g, p) ? g : at::empty_like(p).copy_(g));
  }
  return out;
}

void AdamW::step(const Update& update) {
  RECORD_FUNCTION("tweedie::optimizer", flop(0));
  at::NoGradGuard no_grad;
  if (!own_kernel_) return stock_step(update);
  const std::vector<Tensor> g = gradients();
  std::vector<kernels::AdamWTensor> tensors;
  tensors.reserve(g.size());
  for (size_t i = 0; i < g.size(); ++i) {
    const Tensor& p = parameters_.tensors[i];
    tensors.push_back({.size = p.numel(),
                       .p = numbers(p, p),
                       .g = g[i].const_data_ptr<float>(),
                       .m = numbers(m_[i], p),
                       .v = numbers(v_[i], p),
                       .e = update.ema ? numbers(update.ema->tensors().at(i), p) : nullptr});
  }
  kernels::adamw(tensors,
                 {.learning_rate = update.learning_rate,
                  .beta1 = options_.beta1,
                  .beta2 = options_.beta2,
                  .weight_decay = options_.weight_decay,
                  .epsilon = options_.epsilon,
                  .k = update.k,
                  .gradient_scale = update.gradient_scale,
                  .ema_decay = update.ema ? update.ema->decay(update.k - 1) : 1},
                 kernels::on_torch_threads);
}

void AdamW::stock_step(const Update& update) {
  const auto& p = parameters_.tensors;
  const std::vector<Tensor> g = gradients();
  if (update.gradient_scale != 1) at::_foreach_mul_(g, update.gradient_scale);
  // The op reads the step from one tensor a parameter; they may be one and the same.
  const auto options = at::TensorOptions(at::kFloat).device(p[0].device());
  const std::vector<Tensor> steps(p.size(), at::full({}, double(update.k), options));
  at::_fused_adamw_(p, g, m_, v_, /*max_exp_avg_sqs=*/{}, steps, update.learning_rate,
                    options_.beta1, options_.beta2, options_.weight_decay, options_.epsilon,
                    /*amsgrad=*/false, /*maximize=*/false);
  if (update.ema) update.ema->update(update.k - 1);
}

Tensor AdamW::gradient_norm() const {
  RECORD_FUNCTION("tweedie::optimizer", flop(0));
  at::NoGradGuard no_grad;
  const std::vector<Tensor> g = gradients();
  if (!own_kernel_) return at::linalg_vector_norm(at::stack(at::_foreach_norm(g, 2)));
  std::vector<kernels::AdamWTensor> tensors;
  tensors.reserve(g.size());
  for (const Tensor& one : g)
    tensors.push_back({.size = one.numel(), .g = one.const_data_ptr<float>()});
  return at::scalar_tensor(kernels::gradient_norm(tensors, kernels::on_torch_threads), at::kFloat);
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

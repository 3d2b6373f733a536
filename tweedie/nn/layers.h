// The layers with parameters. Parameter names and initial distributions are PyTorch's; the
// randomness is an argument, which torch::nn's own constructors do not allow.
#pragma once
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "tweedie/core/rng.h"
#include "tweedie/kernels/conv.h"
#include "tweedie/kernels/linear.h"

namespace tweedie {

using at::Tensor;

/// A module that owns parameters and can draw them.
class LayerImpl : public torch::nn::Module {
 public:
  virtual void draw(Rng rng) = 0;
};

/// (Re)draws every layer below `module` from PyTorch's default distributions. What a layer gets
/// depends on (seed, its name) alone.
void initialise(torch::nn::Module& module, uint64_t seed);

/// Square kernel, `padding` on all sides. [N,in,H,W] -> [N,out,H',W'].
class ConvImpl : public LayerImpl {
 public:
  ConvImpl(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding);
  /// Of [x, beside], if that is defined.
  Tensor forward(const Tensor& x, const Tensor& beside = {}) const;
  /// With what is around it; only of a 3x3 kernel with stride 1 and padding 1.
  Tensor forward(const Tensor& x, ConvExtras extras) const;
  void set_plans(std::shared_ptr<const ConvPlans> plans) { plans_ = std::move(plans); }
  void draw(Rng rng) override;
  Tensor weight, bias;

 private:
  bool is_3x3() const { return weight.size(2) == 3 && stride_ == 1 && padding_ == 1; }
  // What observers are told: x, filter, stride, padding, whether x is upsampled before.
  std::vector<c10::IValue> record(const Tensor& x, bool upsample) const;
  int64_t stride_, padding_;
  mutable FilterCache filter_;
  mutable WeightCache matrix_;
  std::shared_ptr<const ConvPlans> plans_;
};
TORCH_MODULE(Conv);

/// [..., in] -> [..., out].
class LinearImpl : public LayerImpl {
 public:
  LinearImpl(int64_t in, int64_t out);
  /// `residual` is added, if it is defined.
  Tensor forward(const Tensor& x, const Tensor& residual = {}) const;
  void draw(Rng rng) override;
  Tensor weight, bias;

 private:
  mutable WeightCache cache_;
};
TORCH_MODULE(Linear);

/// [N,channels,...]; `groups` divides `channels`.
class GroupNormImpl : public LayerImpl {
 public:
  GroupNormImpl(int64_t groups, int64_t channels, double eps);
  Tensor forward(const Tensor& x) const;
  /// What group_norm needs to know, to be completed.
  GroupNormArgs args() const;
  void draw(Rng rng) override;
  Tensor weight, bias;

 private:
  int64_t groups_;
  double eps_;
};
TORCH_MODULE(GroupNorm);

/// A row of `weight` for each index, int64, 0 .. count-1.
class EmbeddingImpl : public LayerImpl {
 public:
  EmbeddingImpl(int64_t count, int64_t width);
  Tensor forward(const Tensor& index) const;
  void draw(Rng rng) override;
  Tensor weight;
};
TORCH_MODULE(Embedding);

}  // namespace tweedie

// Self-attention over the pixels of a feature map.
#pragma once
#include <optional>

#include "tweedie/nn/layers.h"

namespace tweedie {

struct AttentionOptions {
  int64_t channels, head_dim;     ///< heads = channels / head_dim, rounded down
  std::optional<int64_t> groups;  ///< of the normalisation; empty is none
  double eps = 1e-5;
  double output_scale = 1;  ///< the sum is divided by this
};

/// x + out(softmax(q k' / sqrt(head_dim)) v) with q, k, v linear in norm(x); diffusers' Attention.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const AttentionOptions& options);
  /// [N,C,H,W] -> the same.
  Tensor forward(const Tensor& x) const;

 private:
  AttentionOptions options_;
  int64_t heads_;
  GroupNorm group_norm{nullptr};
  Linear to_q{nullptr}, to_k{nullptr}, to_v{nullptr}, to_out{nullptr};
  mutable WeightCache qkv_;
};
TORCH_MODULE(Attention);

}  // namespace tweedie

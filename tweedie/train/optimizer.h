// AdamW over all parameters in one fused call, and the norm of the whole gradient.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "tweedie/io/safetensors.h"
#include "tweedie/train/options.h"

namespace tweedie {

/// Parameters that are trained, with the names they have in the state dict.
struct Parameters {
  std::vector<std::string> names;
  std::vector<Tensor> tensors;
};

/// Decoupled weight decay (Loshchilov & Hutter 2019, Alg. 2), all state float32 on the parameters'
/// device:
///   m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
///   p <- p - lr wd p - lr (m / (1 - b1^k)) / (sqrt(v / (1 - b2^k)) + epsilon),  k = 1, 2, ...
class AdamW {
 public:
  AdamW(Parameters parameters, const TrainOptions& options);

  /// Update number k (1 is the first) from the parameters' grad().
  void step(double learning_rate, int64_t k);

  /// ||g|| over all parameters, a tensor of one float32. Every parameter must have a gradient.
  Tensor gradient_norm() const;
  /// Multiplies the gradient by max_norm / norm if that is below 1.
  void clip(double norm, double max_norm);
  /// Drops the gradients, so that the next backward pass begins from nothing.
  void zero_grad();

  /// "exp_avg.NAME" and "exp_avg_sq.NAME" for each parameter: views of the state.
  TensorMap state() const;
  /// Copies `state` in. Throws Error (user) naming `source` and the tensor that is missing or of
  /// another shape.
  void load(const TensorMap& state, const std::string& source);

 private:
  std::vector<Tensor> gradients() const;
  Parameters parameters_;
  TrainOptions options_;
  std::vector<Tensor> m_, v_;
};

}  // namespace tweedie

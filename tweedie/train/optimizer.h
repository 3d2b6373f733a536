// AdamW over all parameters in one pass, and the norm of the whole gradient.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "tweedie/io/safetensors.h"
#include "tweedie/train/options.h"

namespace tweedie {

class Ema;

/// Parameters that are trained, with the names they have in the state dict.
struct Parameters {
  std::vector<std::string> names;
  std::vector<Tensor> tensors;
};

/// What an update follows besides the gradient.
struct Update {
  double learning_rate;
  int64_t k;                  ///< 1 is the first
  double gradient_scale = 1;  ///< of clip_factor(), say
  Ema* ema = nullptr;         ///< of the same parameters: gets its update(k - 1) in the same pass
};

/// max_norm / norm, or 1 if that is not below 1 or `max_norm` is 0: no clipping.
double clip_factor(double norm, double max_norm);

/// Decoupled weight decay (Loshchilov & Hutter 2019, Alg. 2); the state is of the parameters' type,
/// layout and device, g is the gradient times gradient_scale:
///   m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
///   p <- p - lr wd p - lr (m / (1 - b1^k)) / (sqrt(v / (1 - b2^k)) + epsilon),  k = 1, 2, ...
class AdamW {
 public:
  AdamW(Parameters parameters, const TrainOptions& options);

  /// From the parameters' grad(), of which nothing is promised afterwards.
  void step(const Update& update);

  /// ||g|| over all parameters, a tensor of one float32. Every parameter must have a gradient.
  Tensor gradient_norm() const;
  /// Drops the gradients, so that the next backward pass begins from nothing.
  void zero_grad();

  /// "exp_avg.NAME" and "exp_avg_sq.NAME" for each parameter: views of the state.
  TensorMap state() const;
  /// Copies `state` in. Throws Error (user) naming `source` and the tensor that is missing or of
  /// another shape.
  void load(const TensorMap& state, const std::string& source);

 private:
  std::vector<Tensor> gradients() const;
  void stock_step(const Update& update);
  Parameters parameters_;
  TrainOptions options_;
  std::vector<Tensor> m_, v_;
  bool own_kernel_;  // else LibTorch's: of another device or type than kernels/adamw.h is for
};

}  // namespace tweedie

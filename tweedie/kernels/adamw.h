// AdamW and the running mean of the weights in one pass over memory, and the norm of the gradient,
// over all tensors of a network at once, in float32 on plain pointers.
#pragma once
#include <cstdint>
#include <span>

#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

/// A tensor that is trained, and its companions: each `size` numbers, in the same order.
struct AdamWTensor {
  int64_t size;
  float* p;            ///< the parameters
  const float* g;      ///< their gradient
  float *m, *v;        ///< the running means of the gradient and of its square
  float* e = nullptr;  ///< the running mean of p, or null
};

struct AdamWUpdate {
  double learning_rate, beta1, beta2, weight_decay, epsilon;
  int64_t k;                  ///< 1 is the first update
  double gradient_scale = 1;  ///< s
  double ema_decay = 1;       ///< d
};

/// One update with decoupled weight decay (Loshchilov & Hutter 2019, Alg. 2) of all tensors:
///   m <- b1 m + (1 - b1) s g        v <- b2 v + (1 - b2) (s g)^2
///   p <- p - lr wd p - lr (m / (1 - b1^k)) / (sqrt(v / (1 - b2^k)) + epsilon)
///   e <- d e + (1 - d) p
void adamw(std::span<const AdamWTensor> tensors, const AdamWUpdate& update,
           const ParallelFor& parallel);

/// ||g|| over all tensors, summed in float64; only `size` and `g` are read.
double gradient_norm(std::span<const AdamWTensor> tensors, const ParallelFor& parallel);

}  // namespace tweedie::kernels

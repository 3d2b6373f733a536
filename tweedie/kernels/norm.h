// GroupNorm, optionally with a scale and a shift of each image, optionally followed by SiLU, of
// channels-last images in float32 on plain pointers: y = act(((x - mean) / sqrt(var + eps) * gamma
// + beta) * (1 + scale) + shift) (Wu & He 2018, arXiv 1803.08494).
#pragma once
#include <cstdint>

#include "tweedie/kernels/images.h"
#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

/// [n,pixels,c]; `groups` divides c.
struct NormShape {
  int64_t n, pixels, c, groups;
};

struct NormParameters {
  const float* gamma;            ///< [c]
  const float* beta;             ///< [c]
  const float* scale = nullptr;  ///< [n,c] or null
  const float* shift = nullptr;  ///< [n,c] or null; both or none
  float eps = 1e-5f;
  bool silu = true;
};

/// `mean` and `rstd`, [n,groups], of x; the sums are in float64 every few pixels.
void norm_statistics(const NormShape& shape, const Images<const float>& x, float eps, float* mean,
                     float* rstd, const ParallelFor& parallel);

/// `line` [2,n,c]: what x is multiplied with and then what is added, before act.
void norm_line(const NormShape& shape, const NormParameters& parameters, const float* mean,
               const float* rstd, float* line);

/// y from x and its line. y may be x if that is one array.
void norm_apply(const NormShape& shape, const Images<const float>& x, const float* line, bool silu,
                float* y, const ParallelFor& parallel);

/// All three at once: x is read from memory only once. y may be x.
void norm_forward(const NormShape& shape, const NormParameters& parameters, const float* x,
                  float* mean, float* rstd, float* y, const ParallelFor& parallel);

/// Gradients. `dz` [n,pixels,c] receives that of what stands before SiLU and may be dy; dx may be
/// dz if x is one array. `sums` [2,n,c] receives the sums over pixels of dz and of dz * x_hat: the
/// gradients of gamma, beta, scale and shift follow from them.
void norm_backward(const NormShape& shape, const NormParameters& parameters,
                   const Images<const float>& x, const float* mean, const float* rstd,
                   const float* dy, float* dz, const Images<float>& dx, float* sums,
                   const ParallelFor& parallel);

}  // namespace tweedie::kernels

// y = x w' + bias + residual in float32 on plain pointers: linear layers and 1x1 convolutions of
// channels-last images.
#pragma once
#include <cstdint>

#include "tweedie/kernels/images.h"
#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

/// x [rows,in], perhaps of two arrays, y [rows,out].
struct MatmulShape {
  int64_t rows, in, out;
};

/// Floats of the packed weights.
int64_t matmul_weight_size(int64_t in, int64_t out);

/// w [out,in], a row after the other, packed for matmul.
void matmul_weights(const float* w, int64_t in, int64_t out, float* packed,
                    const ParallelFor& parallel);

/// `bias` [out] and `residual` [rows,out] may be null; the residual may be y itself.
void matmul(const MatmulShape& shape, const Images<const float>& x, const float* packed,
            const float* bias, const float* residual, float* y, const ParallelFor& parallel);

}  // namespace tweedie::kernels

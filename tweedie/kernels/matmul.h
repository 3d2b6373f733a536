// y = x w' + bias + residual and its gradients in float32 on plain pointers: linear layers and 1x1
// convolutions of channels-last images.
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

/// Strides, in floats, of a matrix [out,in].
struct MatrixStrides {
  int64_t out, in;
};

/// w [out,in] packed for matmul.
void matmul_weights(const float* w, MatrixStrides strides, int64_t in, int64_t out, float* packed,
                    const ParallelFor& parallel);

/// `bias` [out] and `residual` [rows,out] may be null; the residual may be y itself.
void matmul(const MatmulShape& shape, const Images<const float>& x, const float* packed,
            const float* bias, const float* residual, float* y, const ParallelFor& parallel);

/// Square patches of images [n,h,w,c], `stride` apart, with zeros around the images.
struct PatchShape {
  int64_t n, h, w, c, kernel, stride, padding;
  int64_t side(int64_t of) const { return (of + 2 * padding - kernel) / stride + 1; }
  int64_t depth() const { return kernel * kernel * c; }
};

/// The same of rows that are patches, [kernel,kernel,c] each: a convolution, y
/// [n,side(h),side(w),out]. `packed` has shape.depth() inputs.
void matmul_patches(const PatchShape& shape, int64_t out, const float* x, const float* packed,
                    const float* bias, float* y, const ParallelFor& parallel);

/// The gradients of matmul_patches, for few rows: sums over all of them at once. dy
/// [n,side(h),side(w),out]; w and dw [out,kernel,kernel,c], not packed.
void patches_input_gradient(const PatchShape& shape, int64_t out, const float* dy, const float* w,
                            float* dx, const ParallelFor& parallel);
void patches_filter_gradient(const PatchShape& shape, int64_t out, const float* x, const float* dy,
                             float* dw, const ParallelFor& parallel);

/// dw [out,in], a row after the other, = dy' x: the gradient of w from that of y, dy [rows,out].
void matmul_weight_gradient(const MatmulShape& shape, const Images<const float>& x, const float* dy,
                            float* dw, const ParallelFor& parallel);

}  // namespace tweedie::kernels

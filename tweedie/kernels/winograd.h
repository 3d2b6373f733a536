// 3x3 convolution of stride 1 and padding 1 by Winograd's minimal filtering F(4x4,3x3) (Lavin &
// Gray 2015, arXiv 1509.09308), in float32 on plain pointers. 36 products give 16 outputs, where
// the direct sum takes 144; F(2x2,3x3) takes 64. Each call picks the widest instruction set that
// the CPU has; what it computes for an image depends neither on the batch nor on the threads.
#pragma once
#include <cstdint>

#include "tweedie/kernels/images.h"
#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

/// How input and output lie to each other.
enum class ConvScale {
  kSame,
  kUpsampled,  ///< every pixel of the input counts as 2x2 equal ones: [n,h/2,w/2,c] -> [n,h,w,k]
  kPooled      ///< the output's 2x2 pixels are added up, the gradient of that:
               ///< [n,h,w,c] -> [n,h/2,w/2,k]
};

/// [n,h,w,c] -> [n,h,w,k], rows of pixels, channels innermost, no gaps. h and w are those of the
/// convolution: the larger ones, even, where `scale` changes them.
struct Conv3x3Shape {
  int64_t n, h, w, c, k;
  ConvScale scale = ConvScale::kSame;
};

/// What is convolved: images, or what norm_apply makes of them, row by row as it is needed. Only
/// the latter may lie in two arrays, and only with kSame.
struct ConvInput {
  Images<const float> x;
  const float* line = nullptr;  ///< of norm_line, [2,n,c], or null
  bool silu = false;            ///< after the line
};

/// What the convolution's output is added to; null adds nothing.
struct ConvSums {
  const float* bias = nullptr;        ///< [k]
  const float* image_bias = nullptr;  ///< [n,k]
  const float* residual = nullptr;    ///< like the output, which may be the same memory
};

/// Outputs of a tile's side on maps of that size. F(2x2,3x3) where a map is a tile of the other:
/// its transformed filters are less than half as large, and at batch 1 reading them is all the
/// time.
inline int64_t tile_of(int64_t h, int64_t w) { return h <= 4 && w <= 4 ? 2 : 4; }

/// Floats of the transformed weights for such tiles.
int64_t winograd_weight_size(int64_t tile, int64_t c, int64_t k);

/// G g G^T of every filter, packed for winograd_conv; `filter` [k,3,3,c]. With `flip` it is
/// [c,3,3,k], is turned around and its channels are exchanged: winograd_conv gives the gradient of
/// the input then. `out` begins at a multiple of 64 bytes.
void winograd_weights(int64_t tile, const float* filter, int64_t c, int64_t k, bool flip,
                      float* out, const ParallelFor& parallel);

/// y = x * filter + sums. `weights` from winograd_weights with tile_of(h, w) and the same c and k.
void winograd_conv(const Conv3x3Shape& shape, const ConvInput& input, const float* weights,
                   const ConvSums& sums, float* y, const ParallelFor& parallel);

/// The gradient of the filter, [k,3,3,c], from x and the gradient dy of y; not for kPooled. `sums`
/// [n,k], unless null, receives dy's sums over an image: the gradient of the biases, which costs
/// nothing beside.
void winograd_filter_gradient(const Conv3x3Shape& shape, const float* x, const float* dy,
                              float* dfilter, float* sums, const ParallelFor& parallel);

}  // namespace tweedie::kernels

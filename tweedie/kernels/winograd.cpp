#include "tweedie/kernels/winograd.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/winograd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "tweedie/kernels/gemm-inl.h"
#include "tweedie/kernels/winograd_transforms-inl.h"

#ifndef TWEEDIE_KERNELS_WINOGRAD_ONCE
#define TWEEDIE_KERNELS_WINOGRAD_ONCE
namespace tweedie::kernels {

constexpr int64_t kTile = 4, kPatch = 6, kPoints = kPatch * kPatch;

// Measured on a core with 1 MB of second-level cache: tiles and channels whose matrices stay there.
constexpr int64_t kConvTiles = 24, kConvColumns = 128, kGradientTiles = 192;

// Where the tiles of a batch lie.
struct Tiling {
  explicit Tiling(const Conv3x3Shape& s)
      : rows((s.h + kTile - 1) / kTile),
        columns((s.w + kTile - 1) / kTile),
        count(s.n * rows * columns) {}
  int64_t rows, columns, count;
};

struct Tile {
  Tile(const Tiling& tiling, int64_t index)
      : n(index / (tiling.rows * tiling.columns)),
        y(index / tiling.columns % tiling.rows * kTile),
        x(index % tiling.columns * kTile) {}
  int64_t n, y, x;  // of the upper left output
};

// 36 matrices of `rows` x `stride`; `plane` keeps equal places of different matrices out of the
// same cache set.
struct Matrices {
  Matrices(int64_t rows, int64_t columns)
      : stride(columns % 256 == 0 ? columns + 16 : columns), plane(rows * stride + 16) {}
  int64_t stride, plane;
  int64_t size() const { return kPoints * plane; }
};

// Scratch memory that a thread keeps between calls.
inline float* scratch(int which, int64_t floats) {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<float, Free> memory[3];
  thread_local int64_t sizes[3] = {0, 0, 0};
  if (sizes[which] < floats) {
    memory[which].reset();
    const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + 4095) / 4096 * 4096;
    memory[which].reset(static_cast<float*>(std::aligned_alloc(4096, bytes)));
    if (!memory[which]) throw std::bad_alloc();
    sizes[which] = floats;
  }
  return memory[which].get();
}

}  // namespace tweedie::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

// --- a block of tiles to 36 matrices and back ----------------------------------------------------

// The pixels that `count` x `count` places from (y, x) on fall on; outside the image `zero`.
HWY_INLINE void find_pixels(const float* image, int64_t h, int64_t w, int64_t c, int64_t y,
                            int64_t x, int64_t count, const float* zero, const float** out) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < count; ++j) {
      const bool inside = y + i >= 0 && y + i < h && x + j >= 0 && x + j < w;
      *out++ = inside ? image + ((y + i) * w + x + j) * c : zero;
    }
}

// What is gathered into matrices: images [n,h,w,channels] and how far outside its tile a patch
// begins.
struct Source {
  const float* data;
  int64_t h, w, channels, margin;
  const float* zero;  // what lies outside, `padded` floats
};

// transform(patch) of tiles first..last, Size x Size pixels to 6 x 6, a row of `m` each; columns
// from `channels` to `padded` are filled with zeros.
template <int Size, class Transform>
HWY_INLINE void gather(const Source& s, const Tiling& tiling, int64_t first, int64_t last,
                       int64_t padded, const Matrices& m, float* out, Transform transform) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t index = first; index < last; ++index) {
    const Tile tile(tiling, index);
    const float* pixel[Size * Size];
    find_pixels(s.data + tile.n * s.h * s.w * s.channels, s.h, s.w, s.channels, tile.y - s.margin,
                tile.x - s.margin, Size, s.zero, pixel);
    float* row = out + (index - first) * m.stride;
    for (int64_t c = 0; c < padded; c += lanes) {
      const int64_t left = s.channels - c;
      const auto load = [&](const float* p) {
        if (HWY_LIKELY(left >= lanes)) return hn::LoadU(d, p + c);
        return left > 0 ? hn::MaskedLoad(hn::FirstN(d, left), d, p + c) : hn::Zero(d);
      };
      V t[kPatch][Size];
      for (int j = 0; j < Size; ++j) {
        V in[Size], column[kPatch];
        for (int i = 0; i < Size; ++i) in[i] = load(pixel[i * Size + j]);
        transform(in, column);
        for (int i = 0; i < kPatch; ++i) t[i][j] = column[i];
      }
      for (int i = 0; i < kPatch; ++i) {
        V line[kPatch];
        transform(t[i], line);
        for (int j = 0; j < kPatch; ++j)
          hn::StoreU(line[j], d, row + (i * kPatch + j) * m.plane + c);
      }
    }
  }
}

// B^T d B.
void gather_input(const Conv3x3Shape& s, const Tiling& tiling, const float* x, const float* zero,
                  int64_t first, int64_t last, int64_t padded, const Matrices& m, float* out) {
  using V = hn::Vec<D>;
  gather<kPatch>(
      {x, s.h, s.w, s.c, 1, zero}, tiling, first, last, padded, m, out,
      [](const V* d, V* to) { transform_input(d[0], d[1], d[2], d[3], d[4], d[5], to); });
}

// A dy A^T.
void gather_gradient(const Conv3x3Shape& s, const Tiling& tiling, const float* dy,
                     const float* zero, int64_t first, int64_t last, int64_t padded,
                     const Matrices& m, float* out) {
  using V = hn::Vec<D>;
  gather<kTile>({dy, s.h, s.w, s.k, 0, zero}, tiling, first, last, padded, m, out,
                [](const V* y, V* to) { transform_gradient(y[0], y[1], y[2], y[3], to); });
}

// A^T m A plus bias, to the pixels of tiles first..last; channels from..to.
void scatter_output(const Conv3x3Shape& s, const Tiling& tiling, const Matrices& m, const float* in,
                    int64_t first, int64_t last, int64_t from, int64_t to, const float* bias,
                    float* y) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t index = first; index < last; ++index) {
    const Tile tile(tiling, index);
    const int64_t rows = std::min(kTile, s.h - tile.y), columns = std::min(kTile, s.w - tile.x);
    const int64_t base = ((tile.n * s.h + tile.y) * s.w + tile.x) * s.k;
    const float* row = in + (index - first) * m.stride;
    for (int64_t k = from; k < to; k += lanes) {
      const int64_t left = to - k;
      const auto mask = hn::FirstN(d, std::min(left, lanes));
      const auto load = [&](const float* p) {
        return HWY_LIKELY(left >= lanes) ? hn::LoadU(d, p) : hn::MaskedLoad(mask, d, p);
      };
      V t[kTile][kPatch];
      for (int j = 0; j < kPatch; ++j) {
        V p[kPatch], column[kTile];
        for (int i = 0; i < kPatch; ++i)
          p[i] = hn::LoadU(d, row + (i * kPatch + j) * m.plane + (k - from));
        transform_output(p[0], p[1], p[2], p[3], p[4], p[5], column);
        for (int i = 0; i < kTile; ++i) t[i][j] = column[i];
      }
      const V constant = bias ? load(bias + k) : hn::Zero(d);
      for (int i = 0; i < rows; ++i) {
        V line[kTile];
        transform_output(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], line);
        for (int j = 0; j < columns; ++j) {
          const int64_t at = base + (i * s.w + j) * s.k + k;
          const V sum = hn::Add(line[j], constant);
          if (HWY_LIKELY(left >= lanes)) {
            hn::StoreU(sum, d, y + at);
          } else {
            hn::BlendedStore(sum, mask, d, y + at);
          }
        }
      }
    }
  }
}

// --- the three directions ------------------------------------------------------------------------

void Weights(const float* filter, FilterStrides at, int64_t c, int64_t k, bool flip, float* out,
             const ParallelFor& parallel) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d), panels = panels_of(k), plane = panels * c * kPanel;
  parallel(panels, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel)
      for (int64_t j = 0; j < c; ++j) {
        HWY_ALIGN float g[9][kPanel] = {};
        const int64_t width = std::min(kPanel, k - panel * kPanel);
        for (int64_t i = 0; i < width; ++i) {
          const float* from = filter + (panel * kPanel + i) * at.k + j * at.c;
          for (int tap = 0; tap < 9; ++tap)
            g[flip ? 8 - tap : tap][i] = from[tap / 3 * at.y + tap % 3 * at.x];
        }
        for (int64_t i = 0; i < kPanel; i += lanes) {
          V t[kPatch][3];
          for (int column = 0; column < 3; ++column) {
            V u[kPatch];
            transform_filter(hn::Load(d, g[column] + i), hn::Load(d, g[3 + column] + i),
                             hn::Load(d, g[6 + column] + i), u);
            for (int row = 0; row < kPatch; ++row) t[row][column] = u[row];
          }
          for (int row = 0; row < kPatch; ++row) {
            V u[kPatch];
            transform_filter(t[row][0], t[row][1], t[row][2], u);
            for (int column = 0; column < kPatch; ++column)
              hn::StoreU(u[column], d,
                         out + (row * kPatch + column) * plane + (panel * c + j) * kPanel + i);
          }
        }
      }
  });
}

void Conv(const Conv3x3Shape& s, const float* x, const float* weights, const float* bias, float* y,
          const ParallelFor& parallel) {
  const Tiling tiling(s);
  const int64_t lanes = hn::Lanes(D()), padded = (s.c + lanes - 1) / lanes * lanes;
  const int64_t block = kConvTiles, chunk = std::min(kConvColumns, panels_of(s.k) * kPanel);
  const Matrices v(block, padded), m(block, chunk);
  const int64_t plane = panels_of(s.k) * s.c * kPanel;
  parallel((tiling.count + block - 1) / block, [&](int64_t begin, int64_t end) {
    float* input = scratch(0, v.size());
    float* output = scratch(1, m.size());
    float* zero = scratch(2, padded);
    std::fill(zero, zero + padded, 0.0f);
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * block, last = std::min(first + block, tiling.count);
      gather_input(s, tiling, x, zero, first, last, padded, v, input);
      for (int64_t from = 0; from < s.k; from += chunk) {
        const int64_t to = std::min(from + chunk, s.k);
        for (int64_t p = 0; p < kPoints; ++p)
          for (int64_t k = from; k < to; k += kPanel)
            multiply({.rows = last - first, .depth = s.c}, {input + p * v.plane, v.stride, 1},
                     {weights + p * plane + k * s.c, kPanel},
                     {output + p * m.plane + (k - from), m.stride}, false);
        scatter_output(s, tiling, m, output, first, last, from, to, bias, y);
      }
    }
  });
}

void FilterGradient(const Conv3x3Shape& s, const float* x, const float* dy, float* dfilter,
                    FilterStrides at, const ParallelFor& parallel) {
  const D d;
  using V = hn::Vec<D>;
  const Tiling tiling(s);
  const int64_t lanes = hn::Lanes(d), padded = (s.c + lanes - 1) / lanes * lanes;
  const int64_t columns = panels_of(s.k) * kPanel;
  const int64_t block = std::min(kGradientTiles, tiling.count);
  const Matrices v(block, padded), g(block, columns);
  std::vector<float> sum(static_cast<size_t>(kPoints * s.c * columns));
  float* input = scratch(0, v.size());
  float* gradient = scratch(1, g.size());
  float* zero = scratch(2, std::max(padded, columns));
  std::fill(zero, zero + std::max(padded, columns), 0.0f);
  for (int64_t first = 0; first < tiling.count; first += block) {
    const int64_t count = std::min(block, tiling.count - first);
    parallel(count, [&](int64_t begin, int64_t end) {
      gather_input(s, tiling, x, zero, first + begin, first + end, padded, v,
                   input + begin * v.stride);
      gather_gradient(s, tiling, dy, zero, first + begin, first + end, columns, g,
                      gradient + begin * g.stride);
    });
    parallel(kPoints, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        for (int64_t k = 0; k < columns; k += kPanel)
          multiply({.rows = s.c, .depth = count}, {input + p * v.plane, 1, v.stride},
                   {gradient + p * g.plane + k, g.stride},
                   {sum.data() + p * s.c * columns + k, columns}, first > 0);
    });
  }
  const float* u = sum.data();
  parallel(s.c, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      for (int64_t k = 0; k < s.k; k += lanes) {
        const auto point = [&](int i, int j) {
          return hn::LoadU(d, u + ((i * kPatch + j) * s.c + c) * columns + k);
        };
        V t[3][kPatch];
        for (int j = 0; j < kPatch; ++j) {
          V column[3];
          transform_filter_back(point(0, j), point(1, j), point(2, j), point(3, j), point(4, j),
                                point(5, j), column);
          for (int i = 0; i < 3; ++i) t[i][j] = column[i];
        }
        const int64_t width = std::min(lanes, s.k - k);
        for (int i = 0; i < 3; ++i) {
          V line[3];
          transform_filter_back(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], line);
          for (int j = 0; j < 3; ++j) {
            HWY_ALIGN float out[kPanel];
            hn::Store(line[j], d, out);
            for (int64_t l = 0; l < width; ++l)
              dfilter[(k + l) * at.k + c * at.c + i * at.y + j * at.x] = out[l];
          }
        }
      }
  });
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Weights);
HWY_EXPORT(Conv);
HWY_EXPORT(FilterGradient);

int64_t winograd_weight_size(int64_t c, int64_t k) { return kPoints * panels_of(k) * kPanel * c; }

void winograd_weights(const float* filter, FilterStrides strides, int64_t c, int64_t k, bool flip,
                      float* out, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Weights)(filter, strides, c, k, flip, out, parallel);
}

void winograd_conv(const Conv3x3Shape& shape, const float* x, const float* weights,
                   const float* bias, float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Conv)(shape, x, weights, bias, y, parallel);
}

void winograd_filter_gradient(const Conv3x3Shape& shape, const float* x, const float* dy,
                              float* dfilter, FilterStrides strides, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(FilterGradient)(shape, x, dy, dfilter, strides, parallel);
}

}  // namespace tweedie::kernels
#endif

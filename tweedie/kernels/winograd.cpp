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

// --- the four transforms of a line (Lavin & Gray 2015, section 4.2: points 0, 1, -1, 2, -2) ------

// B^T d: 6 -> 6.
template <class V>
HWY_INLINE void transform_input(const V d0, const V d1, const V d2, const V d3, const V d4,
                                const V d5, V out[6]) {
  const hn::DFromV<V> t;
  const V four = hn::Set(t, 4), five = hn::Set(t, 5), two = hn::Set(t, 2);
  const V a = hn::NegMulAdd(four, d2, d4), b = hn::NegMulAdd(four, d1, d3);
  const V c = hn::Sub(d4, d2), e = hn::Mul(two, hn::Sub(d3, d1));
  out[0] = hn::MulAdd(four, d0, hn::NegMulAdd(five, d2, d4));
  out[1] = hn::Add(a, b);
  out[2] = hn::Sub(a, b);
  out[3] = hn::Add(c, e);
  out[4] = hn::Sub(c, e);
  out[5] = hn::MulAdd(four, d1, hn::NegMulAdd(five, d3, d5));
}

// A^T m: 6 -> 4.
template <class V>
HWY_INLINE void transform_output(const V m0, const V m1, const V m2, const V m3, const V m4,
                                 const V m5, V out[4]) {
  const hn::DFromV<V> t;
  const V s1 = hn::Add(m1, m2), d1 = hn::Sub(m1, m2), s2 = hn::Add(m3, m4), d2 = hn::Sub(m3, m4);
  out[0] = hn::Add(hn::Add(m0, s1), s2);
  out[1] = hn::MulAdd(hn::Set(t, 2), d2, d1);
  out[2] = hn::MulAdd(hn::Set(t, 4), s2, s1);
  out[3] = hn::Add(hn::MulAdd(hn::Set(t, 8), d2, d1), m5);
}

// A y: 4 -> 6.
template <class V>
HWY_INLINE void transform_gradient(const V y0, const V y1, const V y2, const V y3, V out[6]) {
  const hn::DFromV<V> t;
  const V two = hn::Set(t, 2), four = hn::Set(t, 4);
  const V even = hn::Add(y0, y2), odd = hn::Add(y1, y3);
  const V even2 = hn::MulAdd(four, y2, y0), odd2 = hn::Mul(two, hn::MulAdd(four, y3, y1));
  out[0] = y0;
  out[1] = hn::Add(even, odd);
  out[2] = hn::Sub(even, odd);
  out[3] = hn::Add(even2, odd2);
  out[4] = hn::Sub(even2, odd2);
  out[5] = y3;
}

// G g: 3 -> 6.
template <class V>
HWY_INLINE void transform_filter(const V g0, const V g1, const V g2, V out[6]) {
  const hn::DFromV<V> t;
  const V even = hn::Mul(hn::Set(t, -1.0f / 6), hn::Add(g0, g2));
  const V odd = hn::Mul(hn::Set(t, 1.0f / 6), g1);
  const V even2 = hn::MulAdd(hn::Set(t, 1.0f / 24), g0, hn::Mul(hn::Set(t, 1.0f / 6), g2));
  const V odd2 = hn::Mul(hn::Set(t, 1.0f / 12), g1);
  out[0] = hn::Mul(hn::Set(t, 0.25f), g0);
  out[1] = hn::Sub(even, odd);
  out[2] = hn::Add(even, odd);
  out[3] = hn::Add(even2, odd2);
  out[4] = hn::Sub(even2, odd2);
  out[5] = g2;
}

// G^T u: 6 -> 3.
template <class V>
HWY_INLINE void transform_filter_back(const V u0, const V u1, const V u2, const V u3, const V u4,
                                      const V u5, V out[3]) {
  const hn::DFromV<V> t;
  const V s1 = hn::Mul(hn::Set(t, -1.0f / 6), hn::Add(u1, u2)), s2 = hn::Add(u3, u4);
  const V d1 = hn::Mul(hn::Set(t, 1.0f / 6), hn::Sub(u2, u1)), d2 = hn::Sub(u3, u4);
  out[0] = hn::MulAdd(hn::Set(t, 0.25f), u0, hn::MulAdd(hn::Set(t, 1.0f / 24), s2, s1));
  out[1] = hn::MulAdd(hn::Set(t, 1.0f / 12), d2, d1);
  out[2] = hn::Add(hn::MulAdd(hn::Set(t, 1.0f / 6), s2, s1), u5);
}

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

// B^T d B of tiles first..last, a row of `m` each; columns up to `padded` are filled with zeros.
void gather_input(const Conv3x3Shape& s, const Tiling& tiling, const float* x, const float* zero,
                  int64_t first, int64_t last, int64_t padded, const Matrices& m, float* out) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t index = first; index < last; ++index) {
    const Tile tile(tiling, index);
    const float* pixel[kPoints];
    find_pixels(x + tile.n * s.h * s.w * s.c, s.h, s.w, s.c, tile.y - 1, tile.x - 1, kPatch, zero,
                pixel);
    float* row = out + (index - first) * m.stride;
    for (int64_t c = 0; c < padded; c += lanes) {
      const int64_t left = s.c - c;
      const auto load = [&](const float* p) {
        if (HWY_LIKELY(left >= lanes)) return hn::LoadU(d, p + c);
        return left > 0 ? hn::MaskedLoad(hn::FirstN(d, left), d, p + c) : hn::Zero(d);
      };
      V t[kPatch][kPatch];
      for (int j = 0; j < kPatch; ++j) {
        V column[kPatch];
        transform_input(load(pixel[j]), load(pixel[6 + j]), load(pixel[12 + j]),
                        load(pixel[18 + j]), load(pixel[24 + j]), load(pixel[30 + j]), column);
        for (int i = 0; i < kPatch; ++i) t[i][j] = column[i];
      }
      for (int i = 0; i < kPatch; ++i) {
        V line[kPatch];
        transform_input(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], line);
        for (int j = 0; j < kPatch; ++j)
          hn::StoreU(line[j], d, row + (i * kPatch + j) * m.plane + c);
      }
    }
  }
}

// A dy A^T of tiles first..last.
void gather_gradient(const Conv3x3Shape& s, const Tiling& tiling, const float* dy,
                     const float* zero, int64_t first, int64_t last, int64_t padded,
                     const Matrices& m, float* out) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t index = first; index < last; ++index) {
    const Tile tile(tiling, index);
    const float* pixel[kTile * kTile];
    find_pixels(dy + tile.n * s.h * s.w * s.k, s.h, s.w, s.k, tile.y, tile.x, kTile, zero, pixel);
    float* row = out + (index - first) * m.stride;
    for (int64_t k = 0; k < padded; k += lanes) {
      const int64_t left = s.k - k;
      const auto load = [&](const float* p) {
        if (HWY_LIKELY(left >= lanes)) return hn::LoadU(d, p + k);
        return left > 0 ? hn::MaskedLoad(hn::FirstN(d, left), d, p + k) : hn::Zero(d);
      };
      V t[kPatch][kTile];
      for (int j = 0; j < kTile; ++j) {
        V column[kPatch];
        transform_gradient(load(pixel[j]), load(pixel[4 + j]), load(pixel[8 + j]),
                           load(pixel[12 + j]), column);
        for (int i = 0; i < kPatch; ++i) t[i][j] = column[i];
      }
      for (int i = 0; i < kPatch; ++i) {
        V line[kPatch];
        transform_gradient(t[i][0], t[i][1], t[i][2], t[i][3], line);
        for (int j = 0; j < kPatch; ++j)
          hn::StoreU(line[j], d, row + (i * kPatch + j) * m.plane + k);
      }
    }
  }
}

// A^T m A plus the epilogue, to the pixels of tiles first..last; channels from..to.
void scatter_output(const Conv3x3Shape& s, const Tiling& tiling, const Matrices& m, const float* in,
                    int64_t first, int64_t last, int64_t from, int64_t to, const Epilogue& add,
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
      V constant = add.bias ? load(add.bias + k) : hn::Zero(d);
      if (add.per_image) constant = hn::Add(constant, load(add.per_image + tile.n * s.k + k));
      for (int i = 0; i < rows; ++i) {
        V line[kTile];
        transform_output(t[i][0], t[i][1], t[i][2], t[i][3], t[i][4], t[i][5], line);
        for (int j = 0; j < columns; ++j) {
          const int64_t at = base + (i * s.w + j) * s.k + k;
          V sum = hn::Add(line[j], constant);
          if (add.residual) sum = hn::Add(sum, load(add.residual + at));
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

void Conv(const Conv3x3Shape& s, const float* x, const float* weights, const Epilogue& add,
          float* y, const ParallelFor& parallel) {
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
        scatter_output(s, tiling, m, output, first, last, from, to, add, y);
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
                   const Epilogue& epilogue, float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Conv)(shape, x, weights, epilogue, y, parallel);
}

void winograd_filter_gradient(const Conv3x3Shape& shape, const float* x, const float* dy,
                              float* dfilter, FilterStrides strides, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(FilterGradient)(shape, x, dy, dfilter, strides, parallel);
}

}  // namespace tweedie::kernels
#endif

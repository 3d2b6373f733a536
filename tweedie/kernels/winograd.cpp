#include "tweedie/kernels/winograd.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "tweedie/kernels/norm.h"
#include "tweedie/kernels/scratch.h"

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/winograd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "tweedie/kernels/winograd_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

template <int M>
void weights_of(const float* filter, int64_t c, int64_t k, bool flip, float* out,
                const ParallelFor& parallel) {
  constexpr int kPatch = M + 2, kPoints = kPatch * kPatch;
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d), panels = panels_of(k), plane = weight_plane(c);
  // The result passes the caches by: it is larger than they are, and a line that another core has
  // read would have to be fetched from there before it is written.
  constexpr int64_t kBlock = 16;
  const int64_t blocks = (c + kBlock - 1) / kBlock;
  parallel(panels * blocks, [&](int64_t begin, int64_t end) {
    HWY_ALIGN float g[9][kBlock][kPanel] = {};
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item / blocks, first = item % blocks * kBlock;
      const int64_t width = std::min(kPanel, k - panel * kPanel),
                    count = std::min(kBlock, c - first);
      float* const matrices = out + panel * kPoints * plane;
      for (int64_t p = 0; first == 0 && p < kPoints; ++p)
        std::fill(matrices + p * plane + c * kPanel, matrices + (p + 1) * plane, 0.0f);
      for (int64_t tap = 0; tap < 9; ++tap) {
        if (flip) {
          for (int64_t j = 0; j < count; ++j) {
            const float* from = filter + ((first + j) * 9 + tap) * k + panel * kPanel;
            std::fill(std::copy_n(from, width, g[8 - tap][j]), std::end(g[8 - tap][j]), 0.0f);
          }
        } else {
          const float* from = filter + (panel * kPanel * 9 + tap) * c + first;
          for (int64_t i = 0; i < kPanel; i += 4)
            for (int64_t j = 0; j < count; j += lanes) {
              V rows[4];
              for (int64_t row = 0; row < 4; ++row) {
                const float* p = from + (i + row) * 9 * c + j;
                rows[row] = i + row >= width     ? hn::Zero(d)
                            : j + lanes <= count ? hn::LoadU(d, p)
                                                 : load_first(d, count - j, p);
              }
              store_columns(d, rows, 4, lanes, g[tap][j] + i, kPanel);
            }
        }
      }
      for (int64_t j = 0; j < count; ++j) {
        float* to = matrices + (first + j) * kPanel;
        for (int64_t i = 0; i < kPanel; i += lanes) {
          V t[kPatch][3];
          for (int column = 0; column < 3; ++column) {
            const V taps[] = {hn::Load(d, g[column][j] + i), hn::Load(d, g[3 + column][j] + i),
                              hn::Load(d, g[6 + column][j] + i)};
            V u[kPatch];
            Form<M>::filter(taps, u);
            for (int row = 0; row < kPatch; ++row) t[row][column] = u[row];
          }
          for (int row = 0; row < kPatch; ++row) {
            V u[kPatch];
            Form<M>::filter(t[row], u);
            for (int column = 0; column < kPatch; ++column)
              hn::Stream(u[column], d, to + (row * kPatch + column) * plane + i);
          }
        }
      }
    }
    hwy::FlushStream();
  });
}

// What a thread's scratch holds: pieces of a call may come to it one by one.
struct Gathered {
  uint64_t call;
  int64_t block;
  bool operator==(const Gathered&) const = default;
};

uint64_t next_call() {
  static std::atomic<uint64_t> calls = 0;
  return ++calls;
}

template <int M>
void convolve(const Conv3x3Shape& s, const ConvInput& in, const float* weights,
              const ConvSums& sums, float* y, const ParallelFor& parallel) {
  const Tiling tiling(s);
  const int64_t lanes = hn::Lanes(D()), padded = (s.c + lanes - 1) / lanes * lanes;
  const Chunks tiles(tiling.count, kConvTiles, 1);
  const bool few = is_few(tiling);
  const int64_t chunk = std::min(few ? kConvColumns / 2 : kConvColumns, panels_of(s.k) * kPanel);
  const int64_t chunks = (s.k + chunk - 1) / chunk, share = few ? 1 : chunks;
  const Matrices v(M, tiles.size, padded), m(M, tiles.size, chunk);
  constexpr int64_t kPoints = points_of(M);
  const int64_t plane = weight_plane(s.c);
  const uint64_t call = next_call();
  parallel(tiles.count * chunks / share, [&](int64_t begin, int64_t end) {
    float* input = scratch(0, v.size());
    float* output = scratch(1, m.size());
    float* zero = scratch(2, padded);
    std::fill(zero, zero + padded, 0.0f);
    for (int64_t p = 0; p < kPoints; ++p)
      if (!is_live(s, p)) std::fill_n(output + p * m.plane, m.plane, 0.0f);
    Band band(s, in, zero, in.line ? scratch(3, patch_of(M) * s.w * s.c) : nullptr);
    for (int64_t item = begin * share; item < end * share; ++item) {
      const int64_t b = item / chunks, from = item % chunks * chunk;
      const int64_t first = b * tiles.size, last = std::min(first + tiles.size, tiling.count);
      thread_local Gathered held;
      if (held != Gathered{call, b}) {
        held = {call, b};
        if (in.line) {
          gather_input<M>(band, tiling, first, last, padded, v, input);
        } else {
          gather_input<M>(input_of(s, in.x.data, zero), tiling, first, last, padded, v, input);
        }
      }
      const int64_t to = std::min(from + chunk, s.k);
      for (int64_t k = from; k < to; k += kPanel) {
        for (int64_t p = 0; p < kPoints; ++p)
          if (is_live(s, p))
            multiply({.rows = last - first, .depth = s.c}, {input + p * v.plane, v.stride, 1},
                     {weights + (k / kPanel * kPoints + p) * plane, kPanel},
                     {output + p * m.plane + (k - from), m.stride}, false);
      }
      scatter_output<M>(s, tiling, m, output, first, last, from, to, sums, y);
    }
  });
}

// G^T u G of a block, to dfilter; u is the sum of `parts` arrays, `apart` floats from each other.
template <int M>
void filter_back(const Conv3x3Shape& s, const float* u, const FilterBlock& block, int64_t parts,
                 int64_t apart, float* dfilter) {
  const D d;
  using V = hn::Vec<D>;
  constexpr int kPatch = M + 2;
  const int64_t lanes = hn::Lanes(d), plane = block.plane();
  V taps[9][4];  // of four inputs
  const auto taps_of = [&](int64_t c, int64_t k, int64_t row) {
    const auto point = [&](int i, int j) {
      const int64_t p = i * kPatch + j;
      V sum = hn::Zero(d);
      if (!is_live(s, p)) return sum;
      const float* from = u + p * plane + c * block.columns + k;
      for (int64_t part = 0; part < parts; ++part)
        sum = hn::Add(sum, hn::LoadU(d, from + part * apart));
      return sum;
    };
    V t[3][kPatch];
    for (int j = 0; j < kPatch; ++j) {
      V points[kPatch], column[3];
      for (int i = 0; i < kPatch; ++i) points[i] = point(i, j);
      Form<M>::filter_back(points, column);
      for (int i = 0; i < 3; ++i) t[i][j] = column[i];
    }
    for (int i = 0; i < 3; ++i) {
      V line[3];
      Form<M>::filter_back(t[i], line);
      for (int j = 0; j < 3; ++j) taps[3 * i + j][row] = line[j];
    }
  };
  for (int64_t c = 0; c < block.rows; c += 4)
    for (int64_t k = 0; k < block.width; k += lanes) {
      const int64_t rows = std::min(int64_t{4}, block.rows - c);
      for (int64_t row = 0; row < 4; ++row) taps_of(std::min(c + row, block.rows - 1), k, row);
      for (int64_t tap = 0; tap < 9; ++tap)
        store_columns(d, taps[tap], rows, std::min(lanes, block.width - k),
                      dfilter + ((block.k + k) * 9 + tap) * s.c + block.c + c, 9 * s.c);
    }
}

template <int M>
void filter_gradient(const Conv3x3Shape& s, const float* x, const float* dy, float* dfilter,
                     float* sums, const ParallelFor& parallel) {
  constexpr int64_t kPoints = points_of(M), kSumPoint = patch_of(M) + 1;  // (1,1): the tile's sum
  const Tiling tiling(s);
  const int64_t tiles = tiling.rows * tiling.columns;  // of an image
  const Chunks c(s.c, kGradientRows, 16), k(s.k, kGradientColumns, kPanel);
  const int64_t blocks = c.count * k.count, most = FilterBlock(s, c, k, 0).size();
  // A few blocks only: the images are shared out too.
  const int64_t parts =
      std::clamp<int64_t>(std::min(kGradientParts / blocks, tiling.count / 256), 1, s.n);
  float* shared = parts > 1 ? scratch(3, blocks * parts * most) : nullptr;
  std::vector<double> exact(sums ? s.n * s.k : 0);
  const Matrices v(M, kGradientTiles, c.size), g(M, kGradientTiles, k.size);
  parallel(blocks * parts, [&](int64_t begin, int64_t end) {
    float* input = scratch(0, v.size());
    float* gradient = scratch(1, g.size());
    float* zero = scratch(2, std::max(c.size, k.size));
    std::fill_n(zero, std::max(c.size, k.size), 0.0f);
    for (int64_t item = begin; item < end; ++item) {
      const FilterBlock block(s, c, k, item / parts);
      const int64_t part = item % parts, last = (part + 1) * s.n / parts * tiles;
      float* sum = shared ? shared + item * most : scratch(3, most);
      bool accumulate = false;
      for (int64_t i = part * s.n / parts * tiles; i < last; i += kGradientTiles) {
        const int64_t count = std::min(kGradientTiles, last - i);
        gather_input<M>(input_of(s, x, zero).part(block.c, block.rows), tiling, i, i + count,
                        c.size, v, input);
        gather_gradient<M>(gradient_of(s, dy, zero).part(block.k, block.width), tiling, i,
                           i + count, block.columns, g, gradient);
        for (int64_t p = 0; p < kPoints; ++p) {
          if (!is_live(s, p)) continue;
          for (int64_t j = 0; j < block.columns; j += kPanel)
            multiply({.rows = block.rows, .depth = count}, {input + p * v.plane, 1, v.stride},
                     {gradient + p * g.plane + j, g.stride},
                     {sum + p * block.plane() + j, block.columns}, accumulate);
        }
        accumulate = true;
        if (!sums || block.c > 0) continue;
        for (int64_t t = 0; t < count; ++t)
          for (int64_t j = 0; j < block.width; ++j)
            exact[(i + t) / tiles * s.k + block.k + j] +=
                gradient[kSumPoint * g.plane + t * g.stride + j];
      }
      if (!shared) filter_back<M>(s, sum, block, 1, most, dfilter);
    }
  });
  if (sums) std::copy(exact.begin(), exact.end(), sums);
  if (!shared) return;
  parallel(blocks, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      filter_back<M>(s, shared + i * parts * most, FilterBlock(s, c, k, i), parts, most, dfilter);
  });
}

void Weights(int64_t tile, const float* filter, int64_t c, int64_t k, bool flip, float* out,
             const ParallelFor& parallel) {
  (tile == 2 ? weights_of<2> : weights_of<4>)(filter, c, k, flip, out, parallel);
}
void Conv(const Conv3x3Shape& s, const ConvInput& in, const float* weights, const ConvSums& sums,
          float* y, const ParallelFor& parallel) {
  (tile_of(s.h, s.w) == 2 ? convolve<2> : convolve<4>)(s, in, weights, sums, y, parallel);
}
void FilterGradient(const Conv3x3Shape& s, const float* x, const float* dy, float* dfilter,
                    float* sums, const ParallelFor& parallel) {
  (tile_of(s.h, s.w) == 2 ? filter_gradient<2> : filter_gradient<4>)(s, x, dy, dfilter, sums,
                                                                     parallel);
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Weights);
HWY_EXPORT(Conv);
HWY_EXPORT(FilterGradient);

int64_t winograd_weight_size(int64_t tile, int64_t c, int64_t k) {
  return panels_of(k) * points_of(tile) * weight_plane(c);
}

void winograd_weights(int64_t tile, const float* filter, int64_t c, int64_t k, bool flip,
                      float* out, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Weights)(tile, filter, c, k, flip, out, parallel);
}

void winograd_conv(const Conv3x3Shape& shape, const ConvInput& input, const float* weights,
                   const ConvSums& sums, float* y, const ParallelFor& parallel) {
  ConvInput in = input;
  // A few blocks are shared out by channels: each thread would normalise all of them.
  if (in.line && Tiling(shape).count < 4 * kConvTiles) {
    float* made = scratch(3, shape.n * shape.h * shape.w * shape.c);
    norm_apply({shape.n, shape.h * shape.w, shape.c, shape.c}, in.x, in.line, in.silu, made,
               parallel);
    in = {.x = {made}};
  }
  HWY_DYNAMIC_DISPATCH(Conv)(shape, in, weights, sums, y, parallel);
}

void winograd_filter_gradient(const Conv3x3Shape& shape, const float* x, const float* dy,
                              float* dfilter, float* sums, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(FilterGradient)(shape, x, dy, dfilter, sums, parallel);
}

}  // namespace tweedie::kernels
#endif

#include "tweedie/kernels/winograd.h"

#include <algorithm>
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

void Conv(const Conv3x3Shape& s, const ConvInput& in, const float* weights, const ConvSums& sums,
          float* y, const ParallelFor& parallel) {
  const Tiling tiling(s);
  const int64_t lanes = hn::Lanes(D()), padded = (s.c + lanes - 1) / lanes * lanes;
  const int64_t block = kConvTiles, blocks = (tiling.count + block - 1) / block;
  const bool few = is_few(tiling);
  const int64_t chunk = std::min(few ? kConvColumns / 2 : kConvColumns, panels_of(s.k) * kPanel);
  const int64_t chunks = (s.k + chunk - 1) / chunk, share = few ? 1 : chunks;
  const Matrices v(block, padded), m(block, chunk);
  const int64_t plane = panels_of(s.k) * s.c * kPanel;
  parallel(blocks * chunks / share, [&](int64_t begin, int64_t end) {
    float* input = scratch(0, v.size());
    float* output = scratch(1, m.size());
    float* zero = scratch(2, padded);
    std::fill(zero, zero + padded, 0.0f);
    for (int64_t p = 0; p < kPoints; ++p)
      if (!is_live(s, p)) std::fill_n(output + p * m.plane, m.plane, 0.0f);
    Band band(s, in, zero, in.line ? scratch(3, kPatch * s.w * s.c) : nullptr);
    for (int64_t item = begin * share; item < end * share; ++item) {
      const int64_t b = item / chunks, from = item % chunks * chunk;
      const int64_t first = b * block, last = std::min(first + block, tiling.count);
      if (item == begin * share || from == 0) {
        if (in.line) {
          gather_input(band, tiling, first, last, padded, v, input);
        } else {
          gather_input(input_of(s, in.x.data, zero), tiling, first, last, padded, v, input);
        }
      }
      const int64_t to = std::min(from + chunk, s.k);
      for (int64_t p = 0; p < kPoints; ++p) {
        if (!is_live(s, p)) continue;
        for (int64_t k = from; k < to; k += kPanel)
          multiply({.rows = last - first, .depth = s.c}, {input + p * v.plane, v.stride, 1},
                   {weights + p * plane + k * s.c, kPanel},
                   {output + p * m.plane + (k - from), m.stride}, false);
      }
      scatter_output(s, tiling, m, output, first, last, from, to, sums, y);
    }
  });
}

void FilterGradient(const Conv3x3Shape& s, const float* x, const float* dy, float* dfilter,
                    FilterStrides at, float* sums, const ParallelFor& parallel) {
  const D d;
  using V = hn::Vec<D>;
  const Tiling tiling(s);
  const int64_t lanes = hn::Lanes(d), padded = (s.c + lanes - 1) / lanes * lanes;
  const int64_t columns = panels_of(s.k) * kPanel;
  const int64_t block = std::min(kGradientTiles, tiling.count);
  const Matrices v(block, padded), g(block, columns);
  float* sum = scratch(3, kPoints * s.c * columns);
  float* input = scratch(0, v.size());
  float* gradient = scratch(1, g.size());
  float* zero = scratch(2, std::max(padded, columns));
  std::fill(zero, zero + std::max(padded, columns), 0.0f);
  std::vector<double> exact(sums ? s.n * s.k : 0);
  for (int64_t first = 0; first < tiling.count; first += block) {
    const int64_t count = std::min(block, tiling.count - first);
    parallel(count, [&](int64_t begin, int64_t end) {
      gather_input(input_of(s, x, zero), tiling, first + begin, first + end, padded, v,
                   input + begin * v.stride);
      gather_gradient(s, tiling, dy, zero, first + begin, first + end, columns, g,
                      gradient + begin * g.stride);
    });
    const int64_t panels = panels_of(s.k);
    parallel(kPoints * panels, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t p = item / panels, k = item % panels * kPanel;
        if (is_live(s, p))
          multiply({.rows = s.c, .depth = count}, {input + p * v.plane, 1, v.stride},
                   {gradient + p * g.plane + k, g.stride}, {sum + p * s.c * columns + k, columns},
                   first > 0);
        if (sums && p == kSumPoint)
          for (int64_t i = 0; i < count; ++i)
            for (int64_t j = k; j < std::min(k + kPanel, s.k); ++j)
              exact[Tile(tiling, first + i).n * s.k + j] +=
                  gradient[p * g.plane + i * g.stride + j];
      }
    });
  }
  if (sums) std::copy(exact.begin(), exact.end(), sums);
  parallel(s.c, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      for (int64_t k = 0; k < s.k; k += lanes) {
        const auto point = [&](int i, int j) {
          const int64_t p = i * kPatch + j;
          return is_live(s, p) ? hn::LoadU(d, sum + (p * s.c + c) * columns + k) : hn::Zero(d);
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

void winograd_conv(const Conv3x3Shape& shape, const ConvInput& input, const float* weights,
                   const ConvSums& sums, float* y, const ParallelFor& parallel) {
  ConvInput in = input;
  if (in.line && is_few(Tiling(shape))) {  // shared out by channels, they would be made repeatedly
    float* made = scratch(3, shape.n * shape.h * shape.w * shape.c);
    norm_apply({shape.n, shape.h * shape.w, shape.c, shape.c}, in.x, in.line, in.silu, made,
               parallel);
    in = {.x = {made}};
  }
  HWY_DYNAMIC_DISPATCH(Conv)(shape, in, weights, sums, y, parallel);
}

void winograd_filter_gradient(const Conv3x3Shape& shape, const float* x, const float* dy,
                              float* dfilter, FilterStrides strides, float* sums,
                              const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(FilterGradient)(shape, x, dy, dfilter, strides, sums, parallel);
}

}  // namespace tweedie::kernels
#endif

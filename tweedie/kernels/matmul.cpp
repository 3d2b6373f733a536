#include "tweedie/kernels/matmul.h"

#include <algorithm>
#include <utility>

#include "tweedie/kernels/scratch.h"

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/matmul.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "tweedie/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

// A part of a row of y before the product is added to it.
HWY_INLINE void start(const float* bias, const float* residual, int64_t count, float* out) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    auto sum = bias ? hn::LoadU(d, bias + i) : hn::Zero(d);
    if (residual) sum = hn::Add(sum, hn::LoadU(d, residual + i));
    hn::StoreU(sum, d, out + i);
  }
  for (; i < count; ++i) out[i] = (bias ? bias[i] : 0) + (residual ? residual[i] : 0);
}

HWY_INLINE void copy(const float* from, int64_t count, float* to) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  for (; i < count; ++i) to[i] = from[i];
}

// Rows of a matrix, perhaps in two arrays.
struct Rows {
  const MatmulShape& s;
  const Images<const float>& x;
  int64_t block() const { return 4 * kRows; }  // their x stays in the second-level cache
  void load(int64_t, int64_t) {}
  // add(numbers, from row to row, how many of a row, how many of it come before)
  template <class Add>
  void parts(int64_t first, Add add) const {
    const int64_t own = s.in - x.beside_channels;
    const int64_t extra = x.beside_channels;
    add(x.data + first * own, own, own, 0);
    if (extra > 0) add(x.beside + first * extra, extra, extra, own);
  }
};

// Patches, copied into rows.
struct Patches {
  const PatchShape& s;
  const float* x;
  float* rows = nullptr;
  int64_t block() const { return std::clamp<int64_t>((1 << 17) / s.depth() / kRows, 1, 4) * kRows; }
  void load(int64_t first, int64_t count) {
    rows = scratch(1, block() * s.depth());
    const int64_t height = s.side(s.h), width = s.side(s.w);
    float* to = rows;
    for (int64_t row = first; row < first + count; ++row) {
      const int64_t n = row / (height * width);
      const int64_t top = row / width % height * s.stride - s.padding;
      const int64_t left = row % width * s.stride - s.padding;
      for (int64_t i = top; i < top + s.kernel; ++i)
        for (int64_t j = left; j < left + s.kernel; ++j, to += s.c) {
          if (i >= 0 && i < s.h && j >= 0 && j < s.w) {
            copy(x + ((n * s.h + i) * s.w + j) * s.c, s.c, to);
          } else {
            std::fill_n(to, s.c, 0.0f);
          }
        }
    }
  }
  template <class Add>
  void parts(int64_t, Add add) const {
    const int64_t part = s.kernel * s.c;
    for (int64_t i = 0; i < s.kernel; ++i) add(rows + i * part, s.depth(), part, i * part);
  }
};

template <class From>
void product(const MatmulShape& s, const From& source, const float* packed, const float* bias,
             const float* residual, float* y, const ParallelFor& parallel) {
  constexpr int64_t kColumns = 128;  // few rows are shared out by columns too
  // Even ones, but whole groups of rows.
  const int64_t most = source.block(), blocks = (s.rows + most - 1) / most;
  const int64_t size = ((s.rows + blocks - 1) / blocks + kRows - 1) / kRows * kRows;
  const int64_t chunks = (s.out + kColumns - 1) / kColumns;
  parallel(blocks * chunks, [&](int64_t begin, int64_t end) {
    float* part = scratch(0, size * kPanel);
    From from = source;
    int64_t loaded = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item / chunks * size, rows = std::min(size, s.rows - first);
      if (rows <= 0) continue;
      if (std::exchange(loaded, first) != first) from.load(first, rows);
      const int64_t to = std::min(s.out, (item % chunks + 1) * kColumns);
      for (int64_t k = item % chunks * kColumns; k < to; k += kPanel) {
        const int64_t width = std::min(kPanel, s.out - k);
        const bool whole = width == kPanel;
        float* out = whole ? y + first * s.out + k : part;
        const int64_t stride = whole ? s.out : kPanel;
        for (int64_t r = 0; r < rows; ++r)
          start(bias ? bias + k : nullptr, residual ? residual + (first + r) * s.out + k : nullptr,
                width, out + r * stride);
        from.parts(first, [&](const float* a, int64_t stride_a, int64_t depth, int64_t before) {
          multiply(width, {.rows = rows, .depth = depth}, {a, stride_a, 1},
                   {packed + k * s.in + before * kPanel, kPanel}, {out, stride}, true);
        });
        if (whole) continue;
        for (int64_t r = 0; r < rows; ++r)
          std::copy_n(part + r * kPanel, width, y + (first + r) * s.out + k);
      }
    }
  });
}

void Matmul(const MatmulShape& s, const Images<const float>& x, const float* packed,
            const float* bias, const float* residual, float* y, const ParallelFor& parallel) {
  product(s, Rows{s, x}, packed, bias, residual, y, parallel);
}

void MatmulPatches(const PatchShape& s, int64_t out, const float* x, const float* packed,
                   const float* bias, float* y, const ParallelFor& parallel) {
  product({s.n * s.side(s.h) * s.side(s.w), s.depth(), out}, Patches{s, x}, packed, bias, nullptr,
          y, parallel);
}

void WeightGradient(const MatmulShape& s, const Images<const float>& x, const float* dy, float* dw,
                    const ParallelFor& parallel) {
  // Sums over so many rows stay in registers, their x in the first-level cache.
  constexpr int64_t kDepth = 128, kOut = 72;
  const int64_t blocks = (s.out + kOut - 1) / kOut;
  const auto columns = [&](const float* from, int64_t width, int64_t before) {
    parallel(blocks * panels_of(width), [&](int64_t begin, int64_t end) {
      float* panel = scratch(0, kDepth * kPanel);
      float* sums = scratch(1, kOut * kPanel);
      std::fill_n(panel, kDepth * kPanel, 0.0f);
      for (int64_t item = begin; item < end; ++item) {
        const int64_t out = item % blocks * kOut, outs = std::min(kOut, s.out - out);
        const int64_t k = item / blocks * kPanel, count = std::min(kPanel, width - k);
        for (int64_t first = 0; first < s.rows; first += kDepth) {
          const int64_t depth = std::min(kDepth, s.rows - first);
          for (int64_t r = 0; r < depth; ++r)
            copy(from + (first + r) * width + k, count, panel + r * kPanel);
          multiply({.rows = outs, .depth = depth}, {dy + first * s.out + out, 1, s.out},
                   {panel, kPanel}, {sums, kPanel}, first > 0);
        }
        for (int64_t r = 0; r < outs; ++r)
          std::copy_n(sums + r * kPanel, count, dw + (out + r) * s.in + before + k);
        if (count < kPanel) std::fill_n(panel, kDepth * kPanel, 0.0f);
      }
    });
  };
  const int64_t own = s.in - x.beside_channels;
  columns(x.data, own, 0);
  if (own < s.in) columns(x.beside, s.in - own, own);
}

// visit(row of y, offset of the pixel in x) for the patches in which that tap meets the image.
template <class Visit>
HWY_INLINE void pixels_of_tap(const PatchShape& s, int64_t tap, Visit visit) {
  const int64_t height = s.side(s.h), width = s.side(s.w);
  const int64_t down = tap / s.kernel - s.padding, right = tap % s.kernel - s.padding;
  for (int64_t row = 0; row < s.n * height * width; ++row) {
    const int64_t i = row / width % height * s.stride + down, j = row % width * s.stride + right;
    if (i < 0 || i >= s.h || j < 0 || j >= s.w) continue;
    visit(row, ((row / (height * width) * s.h + i) * s.w + j) * s.c);
  }
}

HWY_INLINE void add(const float* from, int64_t count, float* to) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
  for (; i < count; ++i) to[i] += from[i];
}

void PatchesInputGradient(const PatchShape& s, int64_t out, const float* dy, const float* w,
                          float* dx, const ParallelFor& parallel) {
  const int64_t rows = s.n * s.side(s.h) * s.side(s.w), taps = s.kernel * s.kernel;
  parallel(panels_of(s.c), [&](int64_t begin, int64_t end) {
    float* panel = scratch(0, out * kPanel);
    float* part = scratch(1, rows * kPanel);
    std::fill_n(panel, out * kPanel, 0.0f);
    for (int64_t p = begin; p < end; ++p) {
      const int64_t k = p * kPanel, count = std::min(kPanel, s.c - k);
      if (count < kPanel) std::fill_n(panel, out * kPanel, 0.0f);
      for (int64_t i = 0; i < s.n * s.h * s.w; ++i) std::fill_n(dx + i * s.c + k, count, 0.0f);
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t o = 0; o < out; ++o)
          copy(w + (o * taps + tap) * s.c + k, count, panel + o * kPanel);
        multiply({.rows = rows, .depth = out}, {dy, out, 1}, {panel, kPanel}, {part, kPanel},
                 false);
        pixels_of_tap(s, tap, [&](int64_t row, int64_t pixel) {
          add(part + row * kPanel, count, dx + pixel + k);
        });
      }
    }
  });
}

void PatchesFilterGradient(const PatchShape& s, int64_t out, const float* x, const float* dy,
                           float* dw, const ParallelFor& parallel) {
  const int64_t rows = s.n * s.side(s.h) * s.side(s.w), taps = s.kernel * s.kernel;
  parallel(panels_of(s.c) * taps, [&](int64_t begin, int64_t end) {
    float* panel = scratch(0, rows * kPanel);
    float* sums = scratch(1, out * kPanel);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t tap = item % taps, k = item / taps * kPanel;
      const int64_t count = std::min(kPanel, s.c - k);
      std::fill_n(panel, rows * kPanel, 0.0f);
      pixels_of_tap(s, tap, [&](int64_t row, int64_t pixel) {
        copy(x + pixel + k, count, panel + row * kPanel);
      });
      multiply({.rows = out, .depth = rows}, {dy, 1, out}, {panel, kPanel}, {sums, kPanel}, false);
      for (int64_t o = 0; o < out; ++o)
        std::copy_n(sums + o * kPanel, count, dw + (o * taps + tap) * s.c + k);
    }
  });
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Matmul);
HWY_EXPORT(MatmulPatches);
HWY_EXPORT(WeightGradient);
HWY_EXPORT(PatchesInputGradient);
HWY_EXPORT(PatchesFilterGradient);

int64_t matmul_weight_size(int64_t in, int64_t out) { return panels_of(out) * kPanel * in; }

void matmul_weights(const float* w, MatrixStrides at, int64_t in, int64_t out, float* packed,
                    const ParallelFor& parallel) {
  parallel(panels_of(out), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      float* to = packed + p * in * kPanel;
      const float* from = w + p * kPanel * at.out;
      const int64_t width = std::min(kPanel, out - p * kPanel);
      if (width < kPanel) std::fill_n(to, in * kPanel, 0.0f);
      if (at.out == 1) {
        for (int64_t c = 0; c < in; ++c) std::copy_n(from + c * at.in, width, to + c * kPanel);
      } else {
        for (int64_t k = 0; k < width; ++k)
          for (int64_t c = 0; c < in; ++c) to[c * kPanel + k] = from[k * at.out + c * at.in];
      }
    }
  });
}

void matmul(const MatmulShape& shape, const Images<const float>& x, const float* packed,
            const float* bias, const float* residual, float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Matmul)(shape, x, packed, bias, residual, y, parallel);
}

void matmul_patches(const PatchShape& shape, int64_t out, const float* x, const float* packed,
                    const float* bias, float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(MatmulPatches)(shape, out, x, packed, bias, y, parallel);
}

void patches_input_gradient(const PatchShape& shape, int64_t out, const float* dy, const float* w,
                            float* dx, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(PatchesInputGradient)(shape, out, dy, w, dx, parallel);
}

void patches_filter_gradient(const PatchShape& shape, int64_t out, const float* x, const float* dy,
                             float* dw, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(PatchesFilterGradient)(shape, out, x, dy, dw, parallel);
}

void matmul_weight_gradient(const MatmulShape& shape, const Images<const float>& x, const float* dy,
                            float* dw, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(WeightGradient)(shape, x, dy, dw, parallel);
}

}  // namespace tweedie::kernels
#endif

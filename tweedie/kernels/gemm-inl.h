// C = A B in float32, a panel of B's columns at a time. Included once for each instruction set.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#ifndef TWEEDIE_KERNELS_GEMM_ONCE
#define TWEEDIE_KERNELS_GEMM_ONCE
#include <algorithm>
#include <cstdint>
namespace tweedie::kernels {

constexpr int64_t kPanel = 32;  // columns of a panel
inline int64_t panels_of(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

struct GemmSize {
  int64_t rows, depth;
};
struct GemmA {
  const float* data;
  int64_t row, step;  // strides of a row and of a step along the sum
};
struct GemmB {
  const float* data;
  int64_t step;
};
struct Ahead {
  const float* data;
  int64_t step;
};
struct GemmC {
  float* data;
  int64_t row;
};

}  // namespace tweedie::kernels
#endif

#if defined(TWEEDIE_KERNELS_GEMM_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef TWEEDIE_KERNELS_GEMM_TOGGLE
#undef TWEEDIE_KERNELS_GEMM_TOGGLE
#else
#define TWEEDIE_KERNELS_GEMM_TOGGLE
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, 16>;

// As many sums as the registers hold: 12 x 2 vectors where there are 32 of them, else 6 x 2.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kVectors = 2;

// Added up apart from what is there: short sums are exact sums.
template <class Lanes>
HWY_INLINE void put(Lanes d, hn::Vec<Lanes> sum, bool accumulate, float* to) {
  hn::StoreU(accumulate ? hn::Add(hn::LoadU(d, to), sum) : sum, d, to);
}

template <int R>
void multiply_rows(int64_t depth, const GemmA& a, const GemmB& b, const GemmC& c, bool accumulate,
                   const Ahead& ahead) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  V sum[R][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  const float* pa = a.data;
  const float* pb = b.data;
  for (int64_t i = 0; i < depth; ++i, pa += a.step, pb += b.step) {
    hwy::Prefetch(ahead.data + i * ahead.step);
    hwy::Prefetch(ahead.data + i * ahead.step + 16);
    const V b0 = hn::LoadU(d, pb), b1 = hn::LoadU(d, pb + lanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const V x = hn::Set(d, pa[r * a.row]);
      sum[r][0] = hn::MulAdd(x, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(x, b1, sum[r][1]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      put(d, sum[r][v], accumulate, c.data + r * c.row + v * lanes);
}

template <int R>
void multiply_last(int64_t rows, int64_t depth, const GemmA& a, const GemmB& b, const GemmC& c,
                   bool accumulate, const Ahead& ahead) {
  if constexpr (R > 0) {
    if (rows == R) return multiply_rows<R>(depth, a, b, c, accumulate, ahead);
    multiply_last<R - 1>(rows, depth, a, b, c, accumulate, ahead);
  }
}

// One panel. The order of each sum does not depend on the number of rows.
inline void multiply(const GemmSize& size, GemmA a, GemmB b, GemmC c, bool accumulate) {
  const int64_t width = kVectors * static_cast<int64_t>(hn::Lanes(D()));
  for (int64_t column = 0; column < kPanel; column += width, b.data += width, c.data += width) {
    GemmA rows = a;
    GemmC out = c;
    int64_t left = size.rows;
    const int64_t groups = (size.rows + kRows - 1) / kRows;
    Ahead ahead{b.data + size.depth * kPanel, kPanel / (groups > 1 ? 2 : 1)};
    const auto next = [&](int64_t count) {
      multiply_last<kRows>(count, size.depth, rows, b, out, accumulate, ahead);
      ahead.data += size.depth * ahead.step;
      rows.data += count * a.row, out.data += count * c.row;
      left -= count;
    };
    while (left >= 2 * kRows || left == kRows) next(kRows);
    // The last two groups are equally large: a few rows do not keep the arithmetic busy.
    if (left > kRows) next((left + 1) / 2);
    if (left > 0) next(left);
  }
}

constexpr int64_t kNarrow = 8;  // columns
using Narrow = hn::CappedTag<float, kNarrow>;
constexpr int kNarrowVectors = static_cast<int>(kNarrow / hn::MaxLanes(Narrow()));

// Of the first 8 columns what multiply() computes, R rows at a time and the last ones by fewer.
template <int R>
void multiply_narrow(GemmSize size, GemmA a, const GemmB& b, GemmC c, bool accumulate) {
  const Narrow d;
  const int64_t lanes = hn::Lanes(d);
  for (; size.rows >= R; size.rows -= R, a.data += R * a.row, c.data += R * c.row) {
    hn::Vec<Narrow> sum[R][kNarrowVectors];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kNarrowVectors; ++v) sum[r][v] = hn::Zero(d);
    for (int64_t i = 0; i < size.depth; ++i)
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < kNarrowVectors; ++v)
          sum[r][v] = hn::MulAdd(hn::Set(d, a.data[r * a.row + i * a.step]),
                                 hn::LoadU(d, b.data + i * b.step + v * lanes), sum[r][v]);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kNarrowVectors; ++v)
        put(d, sum[r][v], accumulate, c.data + r * c.row + v * lanes);
  }
  if constexpr (R > 1) multiply_narrow<R / 2>(size, a, b, c, accumulate);
}

// The first `columns` of a panel at least: half of it or less is computed 8 at a time.
inline void multiply(int64_t columns, const GemmSize& size, const GemmA& a, GemmB b, GemmC c,
                     bool accumulate) {
  if (2 * columns > kPanel) return multiply(size, a, b, c, accumulate);
  for (; columns > 0; columns -= kNarrow, b.data += kNarrow, c.data += kNarrow)
    multiply_narrow<8 / kNarrowVectors>(size, a, b, c, accumulate);
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

// A block of tiles to the matrices of F(4x4,3x3), 36, or of F(2x2,3x3), 16, and back. Included once
// for each instruction set.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "tweedie/kernels/exp-inl.h"
#include "tweedie/kernels/gemm-inl.h"
#include "tweedie/kernels/partial-inl.h"
#include "tweedie/kernels/winograd_transforms-inl.h"

#ifndef TWEEDIE_KERNELS_TILES_ONCE
#define TWEEDIE_KERNELS_TILES_ONCE
#include <algorithm>

#include "tweedie/kernels/winograd.h"
namespace tweedie::kernels {

// A tile of so many outputs a side is made from a patch by so many products.
constexpr int64_t patch_of(int64_t tile) { return tile + 2; }
constexpr int64_t points_of(int64_t tile) { return patch_of(tile) * patch_of(tile); }

// Measured on a core with 1 MB of second-level cache: tiles and channels whose matrices stay there.
constexpr int64_t kConvTiles = 16, kConvColumns = 128;
constexpr int64_t kGradientTiles = 64, kGradientRows = 128, kGradientColumns = 64;
constexpr int64_t kGradientParts = 16;
constexpr int64_t kFewBlocks = 16;

// An image whose pixels are equal two by two has nothing at the point -1, and its output's pairs
// take nothing from there: 11 of the 36 products fall away, or 7 of the 16.
inline bool is_live(const Conv3x3Shape& s, int64_t point) {
  const int64_t patch = patch_of(tile_of(s.h, s.w));
  return s.scale == ConvScale::kSame || (point / patch != 2 && point % patch != 2);
}

// Where the tiles of a batch lie.
struct Tiling {
  explicit Tiling(const Conv3x3Shape& s)
      : tile(tile_of(s.h, s.w)),
        rows((s.h + tile - 1) / tile),
        columns((s.w + tile - 1) / tile),
        count(s.n * rows * columns) {}
  int64_t tile, rows, columns, count;
};

// Few tiles are shared out by channels too, so that every thread gets some.
inline bool is_few(const Tiling& tiling) { return tiling.count <= kConvTiles * (kFewBlocks - 1); }

struct Tile {
  Tile(const Tiling& tiling, int64_t index)
      : n(index / (tiling.rows * tiling.columns)),
        y(index / tiling.columns % tiling.rows * tiling.tile),
        x(index % tiling.columns * tiling.tile) {}
  int64_t n, y, x;  // of the upper left output
};

// A matrix of `rows` x `stride` for every point; `plane` keeps equal places of different matrices
// out of the same cache set.
struct Matrices {
  Matrices(int64_t tile, int64_t rows, int64_t columns)
      : points(points_of(tile)),
        stride((columns + 15) / 16 % 2 ? columns : columns + 16),
        plane(rows * stride + 16) {}
  int64_t points, stride, plane;
  int64_t size() const { return points * plane; }
};

// Channels in even chunks of at most `most`, multiples of `unit`.
struct Chunks {
  Chunks(int64_t channels, int64_t most, int64_t unit)
      : count((channels + most - 1) / most),
        size((channels + count * unit - 1) / (count * unit) * unit) {
    count = (channels + size - 1) / size;
  }
  int64_t count, size;
};

// Sums for a part of the filter: for every point a matrix [rows, columns], of which `width` columns
// count.
struct FilterBlock {
  FilterBlock(const Conv3x3Shape& s, const Chunks& in, const Chunks& out, int64_t index)
      : points(points_of(tile_of(s.h, s.w))),
        c(index % in.count * in.size),
        k(index / in.count * out.size),
        rows(std::min(in.size, s.c - c)),
        width(std::min(out.size, s.k - k)),
        columns((width + kPanel - 1) / kPanel * kPanel) {}
  int64_t plane() const { return rows * columns + 16; }
  int64_t size() const { return points * plane(); }
  int64_t points, c, k, rows, width, columns;
};

// Transformed weights lie panel by panel, the points' matrices [c, kPanel] each, in the order of
// their use. The gap keeps equal places of different matrices out of the same cache set.
inline int64_t weight_plane(int64_t c) { return c * kPanel + 16; }

}  // namespace tweedie::kernels
#endif

#if defined(TWEEDIE_KERNELS_TILES_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef TWEEDIE_KERNELS_TILES_TOGGLE
#undef TWEEDIE_KERNELS_TILES_TOGGLE
#else
#define TWEEDIE_KERNELS_TILES_TOGGLE
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

// What is gathered into matrices: images [n,h,w,channels], halved if `halved`, and how far outside
// its tile a patch begins.
struct Source {
  const float* data;
  int64_t h, w, channels, width, margin;  // of all channels, `width` from the first one on
  bool halved;
  const float* zero;  // what lies outside, `padded` floats

  // A row of all images below each other.
  const float* row(int64_t index) const { return data + index * (halved ? w / 2 : w) * channels; }
  void prepare(const Tile&) const {}
  Source part(int64_t first, int64_t count) const {
    Source of = *this;
    of.data += first, of.width = count;
    return of;
  }
};

// The same of images that are normalised on the way: the rows under a row of tiles, in a buffer of
// as many rows as a patch has, which the cache holds.
class Band {
 public:
  static constexpr int64_t margin = 1;
  static constexpr bool halved = false;

  Band(const Conv3x3Shape& s, const ConvInput& in, const float* outside, float* buffer)
      : h(s.h),
        w(s.w),
        channels(s.c),
        width(s.c),
        zero(outside),
        n_(s.n),
        patch_(patch_of(tile_of(s.h, s.w))),
        in_(in),
        rows_(buffer) {}

  const float* row(int64_t index) const { return rows_ + index % patch_ * w * channels; }

  // Tiles come in their order.
  void prepare(const Tile& tile) {
    const int64_t top = tile.n * h + std::max<int64_t>(tile.y - 1, 0);
    const int64_t bottom = tile.n * h + std::min(tile.y + patch_ - 1, h);
    for (next_ = std::max(next_, top); next_ < bottom; ++next_) {
      float* out = rows_ + next_ % patch_ * w * channels;
      const int64_t extra = in_.x.beside_channels, own = channels - extra;
      fill(in_.x.data, own, 0, out);
      if (extra) fill(in_.x.beside, extra, own, out);
    }
  }

  const int64_t h, w, channels, width;
  const float* const zero;

 private:
  // The channels of an array, of which the first is channel `first` of all.
  void fill(const float* x, int64_t count, int64_t first, float* out) const {
    const float* a = in_.line + next_ / h * channels + first;
    const float* from = x + next_ * w * count;
    const auto rows = [&](auto act) {
      for (int64_t p = 0; p < w; ++p)
        line(a, a + n_ * channels, from + p * count, count, out + p * channels + first, act);
    };
    if (in_.silu) {
      rows([](auto z) { return silu(z); });
    } else {
      rows([](auto z) { return z; });
    }
  }
  template <class Act>
  static HWY_INLINE void line(const float* a, const float* b, const float* x, int64_t count,
                              float* out, Act act) {
    const D d;
    const int64_t lanes = hn::Lanes(d);
    int64_t c = 0;
    for (; c + lanes <= count; c += lanes)
      hn::StoreU(act(hn::MulAdd(hn::LoadU(d, a + c), hn::LoadU(d, x + c), hn::LoadU(d, b + c))), d,
                 out + c);
    if (c == count) return;
    const auto load = [&](const float* p) { return load_first(d, count - c, p + c); };
    store_first(act(hn::MulAdd(load(a), load(x), load(b))), d, count - c, out + c);
  }

  int64_t n_, patch_, next_ = 0;
  const ConvInput& in_;
  float* rows_;
};

// The pixels that the patch of a tile falls on.
template <int Size, class From>
HWY_INLINE void find_pixels(const From& s, const Tile& tile, const float** out) {
  const int shift = s.halved ? 1 : 0;
  for (int64_t y = tile.y - s.margin; y < tile.y - s.margin + Size; ++y) {
    const float* row = y >= 0 && y < s.h ? s.row(((tile.n * s.h) + y) >> shift) : nullptr;
    for (int64_t x = tile.x - s.margin; x < tile.x - s.margin + Size; ++x)
      *out++ = row && x >= 0 && x < s.w ? row + (x >> shift) * s.channels : s.zero;
  }
}

// transform(patch) of tiles first..last, Size x Size pixels to Patch x Patch, a row of `m` each;
// columns from `channels` to `padded` are filled with zeros.
template <int Size, int Patch, class From, class Transform>
HWY_INLINE void gather(From&& s, const Tiling& tiling, int64_t first, int64_t last, int64_t padded,
                       const Matrices& m, float* out, Transform transform) {
  const D d;
  using V = hn::Vec<D>;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t index = first; index < last; ++index) {
    const Tile tile(tiling, index);
    if (index == first || tile.x == 0) s.prepare(tile);
    // The next tile's pixels are fetched meanwhile: rows of an image defeat the hardware's guess.
    const float *pixel[Size * Size], *ahead[Size * Size];
    find_pixels<Size>(s, tile, pixel);
    find_pixels<Size>(s, Tile(tiling, std::min(index + 1, tiling.count - 1)), ahead);
    float* row = out + (index - first) * m.stride;
    for (int64_t c = 0; c < padded; c += lanes) {
      const int64_t left = s.width - c;
      const auto load = [&](const float* p) {
        if (HWY_LIKELY(left >= lanes)) return hn::LoadU(d, p + c);
        return left > 0 ? load_first(d, left, p + c) : hn::Zero(d);
      };
      for (const float* p : ahead) hwy::Prefetch(p + c);
      V t[Patch][Size];
      for (int j = 0; j < Size; ++j) {
        V in[Size], column[Patch];
        for (int i = 0; i < Size; ++i) in[i] = load(pixel[i * Size + j]);
        transform(in, column);
        for (int i = 0; i < Patch; ++i) t[i][j] = column[i];
      }
      for (int i = 0; i < Patch; ++i) {
        V line[Patch];
        transform(t[i], line);
        for (int j = 0; j < Patch; ++j) hn::StoreU(line[j], d, row + (i * Patch + j) * m.plane + c);
      }
    }
  }
}

Source input_of(const Conv3x3Shape& s, const float* x, const float* zero) {
  return {x, s.h, s.w, s.c, s.c, 1, s.scale == ConvScale::kUpsampled, zero};
}

Source gradient_of(const Conv3x3Shape& s, const float* dy, const float* zero) {
  return {dy, s.h, s.w, s.k, s.k, 0, false, zero};
}

// B^T d B.
template <int M, class From>
void gather_input(From&& from, const Tiling& tiling, int64_t first, int64_t last, int64_t padded,
                  const Matrices& m, float* out) {
  using V = hn::Vec<D>;
  gather<M + 2, M + 2>(from, tiling, first, last, padded, m, out,
                       [](const V* d, V* to) { Form<M>::input(d, to); });
}

// A dy A^T.
template <int M>
void gather_gradient(const Source& from, const Tiling& tiling, int64_t first, int64_t last,
                     int64_t padded, const Matrices& m, float* out) {
  using V = hn::Vec<D>;
  gather<M, M + 2>(from, tiling, first, last, padded, m, out,
                   [](const V* y, V* to) { Form<M>::gradient(y, to); });
}

// transform(A^T m A), Size x Size pixels, plus the sums, to the pixels of tiles first..last;
// channels from..to. A tile's outputs are its M x M places, or half as many a side of a halved
// output.
template <int M, int Size, class Transform>
HWY_INLINE void scatter(const Conv3x3Shape& s, const Tiling& tiling, const Matrices& m,
                        const float* in, int64_t first, int64_t last, int64_t from, int64_t to,
                        const ConvSums& sums, float* y, Transform transform) {
  const D d;
  using V = hn::Vec<D>;
  constexpr int64_t kPatch = M + 2, kStep = M / Size;
  const int64_t lanes = hn::Lanes(d), height = s.h / kStep, width = s.w / kStep;
  for (int64_t index = first; index < last; ++index) {
    const Tile tile(tiling, index);
    const int64_t top = tile.y / kStep, left_most = tile.x / kStep;
    const int64_t rows = std::min<int64_t>(Size, height - top);
    const int64_t columns = std::min<int64_t>(Size, width - left_most);
    const int64_t base = ((tile.n * height + top) * width + left_most) * s.k;
    const float* row = in + (index - first) * m.stride;
    const Tile next(tiling, std::min(index + 1, last - 1));
    const float* ahead = y + ((next.n * height + next.y / kStep) * width + next.x / kStep) * s.k;
    for (int64_t k = from; k < to; k += lanes) {
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j)
          __builtin_prefetch(ahead + (i * width + j) * s.k + k, 1);
      const int64_t left = to - k;
      const auto load = [&](const float* p) {
        return HWY_LIKELY(left >= lanes) ? hn::LoadU(d, p) : load_first(d, left, p);
      };
      V t[Size][kPatch];
      for (int j = 0; j < kPatch; ++j) {
        V p[kPatch], column[Size];
        for (int i = 0; i < kPatch; ++i)
          p[i] = hn::LoadU(d, row + (i * kPatch + j) * m.plane + (k - from));
        transform(p, column);
        for (int i = 0; i < Size; ++i) t[i][j] = column[i];
      }
      V constant = sums.bias ? load(sums.bias + k) : hn::Zero(d);
      if (sums.image_bias) constant = hn::Add(constant, load(sums.image_bias + tile.n * s.k + k));
      for (int i = 0; i < rows; ++i) {
        V line[Size];
        transform(t[i], line);
        for (int j = 0; j < columns; ++j) {
          const int64_t at = base + (i * width + j) * s.k + k;
          V sum = hn::Add(line[j], constant);
          if (sums.residual) sum = hn::Add(sum, load(sums.residual + at));
          if (HWY_LIKELY(left >= lanes)) {
            hn::StoreU(sum, d, y + at);
          } else {
            store_first(sum, d, left, y + at);
          }
        }
      }
    }
  }
}

template <int M>
void scatter_output(const Conv3x3Shape& s, const Tiling& tiling, const Matrices& m, const float* in,
                    int64_t first, int64_t last, int64_t from, int64_t to, const ConvSums& sums,
                    float* y) {
  using V = hn::Vec<D>;
  if (s.scale == ConvScale::kPooled) {
    scatter<M, M / 2>(s, tiling, m, in, first, last, from, to, sums, y,
                      [](const V* p, V* to) { Form<M>::pooled(p, to); });
  } else {
    scatter<M, M>(s, tiling, m, in, first, last, from, to, sums, y,
                  [](const V* p, V* to) { Form<M>::output(p, to); });
  }
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

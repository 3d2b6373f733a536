#include "tweedie/kernels/norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/norm.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "tweedie/kernels/exp-inl.h"
#include "tweedie/kernels/partial-inl.h"

#ifndef TWEEDIE_KERNELS_NORM_ONCE
#define TWEEDIE_KERNELS_NORM_ONCE
namespace tweedie::kernels {

// A part is an image's channels first..first+width: whole groups, as many as make work for a
// thread.
struct Parts {
  explicit Parts(const NormShape& s) : per_group(s.c / s.groups) {
    const int64_t whole = std::lcm(per_group, int64_t{16});  // no group and no cache line is shared
    width = std::min(s.c, whole * std::max<int64_t>(1, 64 / whole));
    per_image = (s.c + width - 1) / width;
    count = s.n * per_image;
  }
  int64_t per_group, width, per_image, count;
};

struct Part {
  Part(const NormShape& s, const Parts& parts, int64_t index)
      : n(index / parts.per_image),
        first(index % parts.per_image * parts.width),
        width(std::min(parts.width, s.c - first)) {}
  int64_t n, first, width;
};

// The channels of a part that lie in one array.
template <class T>
struct Segment {
  int64_t from, width;  // among the part's
  T* data;              // of the image's first pixel
  int64_t stride;       // from pixel to pixel
};

template <class T, class Body>
void each_segment(const NormShape& s, const Images<T>& x, const Part& part, Body&& body) {
  const int64_t extra = x.beside_channels, own = s.c - extra;
  const int64_t here = std::clamp<int64_t>(own - part.first, 0, part.width);
  if (here > 0) body(Segment<T>{0, here, x.data + part.n * s.pixels * own + part.first, own});
  if (here < part.width)
    body(Segment<T>{here, part.width - here,
                    x.beside + part.n * s.pixels * extra + part.first + here - own, extra});
}

// y = act(a x + b) for channels first..first+count of image n.
inline void find_line(const NormShape& s, const NormParameters& p, int64_t n, int64_t first,
                      int64_t count, const float* mean, const float* rstd, float* a, float* b) {
  const int64_t per_group = s.c / s.groups;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t c = first + i, g = n * s.groups + c / per_group;
    const float scale = p.scale ? 1 + p.scale[n * s.c + c] : 1;
    const float shift = p.shift ? p.shift[n * s.c + c] : 0;
    a[i] = rstd[g] * p.gamma[c] * scale;
    b[i] = (p.beta[c] - mean[g] * rstd[g] * p.gamma[c]) * scale + shift;
  }
}

// Room for the sums of a part.
struct Sums {
  explicit Sums(const Parts& parts) : sum(parts.width), square(parts.width), origin(parts.width) {}
  std::vector<double> sum, square;
  std::vector<float> origin;
};

}  // namespace tweedie::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

// Calls body(i, load, store) for vectors of channels 0..width.
template <class Body>
HWY_INLINE void each_vector(int64_t width, Body&& body) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= width; i += lanes)
    body(
        i, [](const float* p) { return hn::LoadU(D(), p); },
        [](V v, float* p) { hn::StoreU(v, D(), p); });
  if (i == width) return;
  const auto left = size_t(width - i);
  body(
      i, [left](const float* p) { return load_first(D(), left, p); },
      [left](V v, float* p) { store_first(v, D(), left, p); });
}

// Calls body(from, to, i, load, store) for rounds of a few pixels, which the caches hold and whose
// sums float32 holds, and for each the vectors of channels.
template <class Body>
HWY_INLINE void each_round(int64_t pixels, int64_t width, Body&& body) {
  constexpr int64_t kRound = 32;
  for (int64_t from = 0; from < pixels; from += kRound) {
    const int64_t to = std::min(from + kRound, pixels);
    each_vector(width, [&](int64_t i, auto load, auto store) { body(from, to, i, load, store); });
  }
}

// The lanes, of which there are `count`, added to sums.
HWY_INLINE void add_lanes(V v, int64_t count, double* sums) {
  HWY_ALIGN float lanes[16];
  hn::Store(v, D(), lanes);
  for (int64_t l = 0; l < std::min<int64_t>(count, hn::Lanes(D())); ++l) sums[l] += lanes[l];
}

void part_statistics(const NormShape& s, const Images<const float>& x, const Parts& parts,
                     const Part& part, float eps, Sums& sums, float* mean, float* rstd) {
  auto& [sum, square, origin] = sums;
  std::fill(sum.begin(), sum.end(), 0), std::fill(square.begin(), square.end(), 0);
  each_segment(s, x, part, [&](const auto& g) {
    // Distances from the first pixel, so that a large mean cancels nothing.
    std::copy_n(g.data, g.width, sums.origin.data() + g.from);
    each_round(s.pixels, g.width, [&](int64_t from, int64_t to, int64_t i, auto load, auto) {
      const D d;
      const V first = load(g.data + i);
      V one = hn::Zero(d), two = hn::Zero(d);
      for (int64_t p = from; p < to; ++p) {
        const V v = hn::Sub(load(g.data + p * g.stride + i), first);
        one = hn::Add(one, v), two = hn::MulAdd(v, v, two);
      }
      add_lanes(one, g.width - i, sums.sum.data() + g.from + i);
      add_lanes(two, g.width - i, sums.square.data() + g.from + i);
    });
  });
  const double pixels = double(s.pixels), count = pixels * double(parts.per_group);
  for (int64_t i = 0; i < part.width; i += parts.per_group) {
    double m = 0, m2 = 0;
    for (int64_t j = i; j < i + parts.per_group; ++j) m += origin[j] + sum[j] / pixels;
    m /= double(parts.per_group);
    for (int64_t j = i; j < i + parts.per_group; ++j) {
      const double away = origin[j] + sum[j] / pixels - m;
      m2 += square[j] - sum[j] * sum[j] / pixels + pixels * away * away;
    }
    const int64_t g = part.n * s.groups + (part.first + i) / parts.per_group;
    mean[g] = float(m);
    rstd[g] = float(1 / std::sqrt(m2 / count + double(eps)));
  }
}

// `a` and `b` of the part's channels.
void part_apply(const NormShape& s, const Images<const float>& x, const Part& part, const float* a,
                const float* b, bool with_silu, float* y) {
  float* out = y + part.n * s.pixels * s.c + part.first;
  const auto pass = [&](auto act) {
    each_segment(s, x, part, [&](const auto& g) {
      each_round(s.pixels, g.width,
                 [&](int64_t from, int64_t to, int64_t i, auto load, auto store) {
                   const V va = load(a + g.from + i), vb = load(b + g.from + i);
                   for (int64_t p = from; p < to; ++p)
                     store(act(hn::MulAdd(va, load(g.data + p * g.stride + i), vb)),
                           out + p * s.c + g.from + i);
                 });
    });
  };
  if (with_silu) {
    pass([](V z) { return silu(z); });
  } else {
    pass([](V z) { return z; });
  }
}

void Statistics(const NormShape& s, const Images<const float>& x, float eps, float* mean,
                float* rstd, const ParallelFor& parallel) {
  const Parts parts(s);
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    Sums sums(parts);
    for (int64_t index = begin; index < end; ++index)
      part_statistics(s, x, parts, Part(s, parts, index), eps, sums, mean, rstd);
  });
}

void Apply(const NormShape& s, const Images<const float>& x, const float* line, bool with_silu,
           float* y, const ParallelFor& parallel) {
  const Parts parts(s);
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const Part part(s, parts, index);
      const float* a = line + part.n * s.c + part.first;
      part_apply(s, x, part, a, a + s.n * s.c, with_silu, y);
    }
  });
}

void Forward(const NormShape& s, const NormParameters& p, const float* x, float* mean, float* rstd,
             float* y, const ParallelFor& parallel) {
  const Parts parts(s);
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    Sums sums(parts);
    std::vector<float> a(parts.width), b(parts.width);
    for (int64_t index = begin; index < end; ++index) {
      const Part part(s, parts, index);
      part_statistics(s, {x}, parts, part, p.eps, sums, mean, rstd);
      find_line(s, p, part.n, part.first, part.width, mean, rstd, a.data(), b.data());
      part_apply(s, {x}, part, a.data(), b.data(), p.silu, y);
    }
  });
}

void Backward(const NormShape& s, const NormParameters& parameters, const Images<const float>& x,
              const float* mean, const float* rstd, const float* dy, float* dz,
              const Images<float>& dx, float* sums, const ParallelFor& parallel) {
  const Parts parts(s);
  std::vector<float> line(2 * s.n * s.c);
  norm_line(s, parameters, mean, rstd, line.data());
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    const D d;
    std::vector<double> sum(parts.width), product(parts.width);
    std::vector<float> k0(parts.width), k1(parts.width), k2(parts.width);
    for (int64_t index = begin; index < end; ++index) {
      const Part part(s, parts, index);
      const float* a = line.data() + part.n * s.c + part.first;
      const float* b = a + s.n * s.c;
      const int64_t base = part.n * s.pixels * s.c + part.first;
      std::fill(sum.begin(), sum.end(), 0), std::fill(product.begin(), product.end(), 0);
      // dz and its sums. x - mean stands for x_hat until the end.
      for (int64_t i = 0; i < part.width; ++i)
        k0[i] = mean[part.n * s.groups + (part.first + i) / parts.per_group];
      const auto first_pass = [&](auto gradient) {
        each_segment(s, x, part, [&](const auto& g) {
          each_round(s.pixels, g.width,
                     [&](int64_t from, int64_t to, int64_t i, auto load, auto store) {
                       const V va = load(a + g.from + i), vb = load(b + g.from + i);
                       const V m = load(k0.data() + g.from + i);
                       V one = hn::Zero(d), two = hn::Zero(d);
                       for (int64_t p = from; p < to; ++p) {
                         const int64_t at = base + p * s.c + g.from + i;
                         const V v = load(g.data + p * g.stride + i);
                         const V vdz = hn::Mul(load(dy + at), gradient(hn::MulAdd(va, v, vb)));
                         store(vdz, dz + at);
                         one = hn::Add(one, vdz), two = hn::MulAdd(vdz, hn::Sub(v, m), two);
                       }
                       add_lanes(one, g.width - i, sum.data() + g.from + i);
                       add_lanes(two, g.width - i, product.data() + g.from + i);
                     });
        });
      };
      if (parameters.silu) {
        first_pass([](V z) {
          const V one = hn::Set(D(), 1), q = sigmoid(z);
          return hn::Mul(q, hn::MulAdd(z, hn::Sub(one, q), one));
        });
      } else {
        first_pass([](V) { return hn::Set(D(), 1); });
      }
      // dx = a dz - rstd (mean(w dz) + x_hat mean(w dz x_hat)) = k0 dz + k1 + k2 x, w = gamma (1 +
      // scale).
      const double count = double(s.pixels) * double(parts.per_group);
      for (int64_t i = 0; i < part.width; i += parts.per_group) {
        const int64_t g = part.n * s.groups + (part.first + i) / parts.per_group;
        const double r = rstd[g];
        double m1 = 0, m2 = 0;
        for (int64_t j = i; j < i + parts.per_group; ++j) {
          m1 += double(a[j]) * sum[j];  // a = rstd w
          m2 += double(a[j]) * product[j] * r;
          sums[part.n * s.c + part.first + j] = float(sum[j]);
          sums[(s.n + part.n) * s.c + part.first + j] = float(product[j] * r);
        }
        m1 /= count, m2 /= count;
        for (int64_t j = i; j < i + parts.per_group; ++j) {
          k0[j] = a[j];
          k2[j] = float(-m2 * r);
          k1[j] = float(-m1 + m2 * r * mean[g]);
        }
      }
      const auto second_pass = [&](const auto& g, float* out) {
        each_round(s.pixels, g.width,
                   [&](int64_t from, int64_t to, int64_t i, auto load, auto store) {
                     const V c0 = load(k0.data() + g.from + i), c1 = load(k1.data() + g.from + i);
                     const V c2 = load(k2.data() + g.from + i);
                     for (int64_t p = from; p < to; ++p) {
                       const V vdz = load(dz + base + p * s.c + g.from + i);
                       const V v = load(g.data + p * g.stride + i);
                       store(hn::MulAdd(c0, vdz, hn::MulAdd(c2, v, c1)), out + p * g.stride + i);
                     }
                   });
      };
      each_segment(s, x, part, [&](const auto& g) {
        each_segment(s, dx, part, [&](const auto& to) {
          if (to.from == g.from) second_pass(g, to.data);
        });
      });
    }
  });
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Statistics);
HWY_EXPORT(Apply);
HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void norm_statistics(const NormShape& shape, const Images<const float>& x, float eps, float* mean,
                     float* rstd, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Statistics)(shape, x, eps, mean, rstd, parallel);
}

void norm_line(const NormShape& s, const NormParameters& p, const float* mean, const float* rstd,
               float* line) {
  for (int64_t n = 0; n < s.n; ++n)
    find_line(s, p, n, 0, s.c, mean, rstd, line + n * s.c, line + (s.n + n) * s.c);
}

void norm_forward(const NormShape& shape, const NormParameters& parameters, const float* x,
                  float* mean, float* rstd, float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Forward)(shape, parameters, x, mean, rstd, y, parallel);
}

void norm_apply(const NormShape& shape, const Images<const float>& x, const float* line, bool silu,
                float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Apply)(shape, x, line, silu, y, parallel);
}

void norm_backward(const NormShape& shape, const NormParameters& parameters,
                   const Images<const float>& x, const float* mean, const float* rstd,
                   const float* dy, float* dz, const Images<float>& dx, float* sums,
                   const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Backward)
  (shape, parameters, x, mean, rstd, dy, dz, dx, sums, parallel);
}

}  // namespace tweedie::kernels
#endif

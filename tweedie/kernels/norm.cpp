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
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

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

// One line: y = act(a x + b), for each channel of a part.
struct Line {
  std::vector<float> a, b;
};

inline void find_line(const NormShape& s, const NormParameters& p, const Parts& parts,
                      const Part& part, const float* mean, const float* rstd, Line& line) {
  line.a.resize(part.width), line.b.resize(part.width);
  for (int64_t i = 0; i < part.width; ++i) {
    const int64_t c = part.first + i, g = part.n * s.groups + c / parts.per_group;
    const float scale = p.scale ? 1 + p.scale[part.n * s.c + c] : 1;
    const float shift = p.shift ? p.shift[part.n * s.c + c] : 0;
    line.a[i] = rstd[g] * p.gamma[c] * scale;
    line.b[i] = (p.beta[c] - mean[g] * rstd[g] * p.gamma[c]) * scale + shift;
  }
}

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

void Statistics(const NormShape& s, const float* x, float eps, float* mean, float* rstd,
                const ParallelFor& parallel) {
  const Parts parts(s);
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(parts.width), square(parts.width);
    for (int64_t index = begin; index < end; ++index) {
      const Part part(s, parts, index);
      // Distances from the first pixel, so that a large mean cancels nothing.
      const float* image = x + part.n * s.pixels * s.c + part.first;
      std::fill(sum.begin(), sum.end(), 0), std::fill(square.begin(), square.end(), 0);
      each_round(s.pixels, part.width, [&](int64_t from, int64_t to, int64_t i, auto load, auto) {
        const D d;
        const V origin = load(image + i);
        V one = hn::Zero(d), two = hn::Zero(d);
        for (int64_t p = from; p < to; ++p) {
          const V v = hn::Sub(load(image + p * s.c + i), origin);
          one = hn::Add(one, v), two = hn::MulAdd(v, v, two);
        }
        HWY_ALIGN float a[16], b[16];
        hn::Store(one, d, a), hn::Store(two, d, b);
        const int64_t lanes = std::min<int64_t>(hn::Lanes(d), part.width - i);
        for (int64_t l = 0; l < lanes; ++l) sum[i + l] += a[l], square[i + l] += b[l];
      });
      const double pixels = double(s.pixels), count = pixels * double(parts.per_group);
      for (int64_t i = 0; i < part.width; i += parts.per_group) {
        double m = 0, m2 = 0;
        for (int64_t j = i; j < i + parts.per_group; ++j) m += image[j] + sum[j] / pixels;
        m /= double(parts.per_group);
        for (int64_t j = i; j < i + parts.per_group; ++j) {
          const double away = image[j] + sum[j] / pixels - m;
          m2 += square[j] - sum[j] * sum[j] / pixels + pixels * away * away;
        }
        const int64_t g = part.n * s.groups + (part.first + i) / parts.per_group;
        mean[g] = float(m);
        rstd[g] = float(1 / std::sqrt(m2 / count + double(eps)));
      }
    }
  });
}

HWY_INLINE V sigmoid(V z) {
  const D d;
  const V one = hn::Set(d, 1);
  // Beyond this exp() overflows to a NaN in the product below.
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(z), hn::Set(d, 88)))));
}

void Apply(const NormShape& s, const NormParameters& parameters, const float* x, const float* mean,
           const float* rstd, float* y, const ParallelFor& parallel) {
  const Parts parts(s);
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    Line line;
    for (int64_t index = begin; index < end; ++index) {
      const Part part(s, parts, index);
      find_line(s, parameters, parts, part, mean, rstd, line);
      const int64_t base = part.n * s.pixels * s.c + part.first;
      const auto pass = [&](auto act) {
        each_round(s.pixels, part.width,
                   [&](int64_t from, int64_t to, int64_t i, auto load, auto store) {
                     const V a = load(line.a.data() + i), b = load(line.b.data() + i);
                     for (int64_t p = from; p < to; ++p) {
                       const int64_t at = base + p * s.c + i;
                       store(act(hn::MulAdd(a, load(x + at), b)), y + at);
                     }
                   });
      };
      if (parameters.silu) {
        pass([](V z) { return hn::Mul(z, sigmoid(z)); });
      } else {
        pass([](V z) { return z; });
      }
    }
  });
}

void Backward(const NormShape& s, const NormParameters& parameters, const float* x,
              const float* mean, const float* rstd, const float* dy, float* dx, float* sums,
              const ParallelFor& parallel) {
  const Parts parts(s);
  parallel(parts.count, [&](int64_t begin, int64_t end) {
    const D d;
    Line line;
    std::vector<double> sum(parts.width), product(parts.width);
    std::vector<float> k0(parts.width), k1(parts.width), k2(parts.width);
    for (int64_t index = begin; index < end; ++index) {
      const Part part(s, parts, index);
      find_line(s, parameters, parts, part, mean, rstd, line);
      const int64_t base = part.n * s.pixels * s.c + part.first;
      std::fill(sum.begin(), sum.end(), 0), std::fill(product.begin(), product.end(), 0);
      // dz into dx, and its sums. x - mean stands for x_hat until the end.
      for (int64_t i = 0; i < part.width; ++i)
        k0[i] = mean[part.n * s.groups + (part.first + i) / parts.per_group];
      const auto first_pass = [&](auto gradient) {
        each_round(s.pixels, part.width,
                   [&](int64_t from, int64_t to, int64_t i, auto load, auto store) {
                     const V a = load(line.a.data() + i), b = load(line.b.data() + i);
                     const V m = load(k0.data() + i);
                     V one = hn::Zero(d), two = hn::Zero(d);
                     for (int64_t p = from; p < to; ++p) {
                       const int64_t at = base + p * s.c + i;
                       const V v = load(x + at);
                       const V dz = hn::Mul(load(dy + at), gradient(hn::MulAdd(a, v, b)));
                       store(dz, dx + at);
                       one = hn::Add(one, dz), two = hn::MulAdd(dz, hn::Sub(v, m), two);
                     }
                     HWY_ALIGN float o[16], t[16];
                     hn::Store(one, d, o), hn::Store(two, d, t);
                     const int64_t lanes = std::min<int64_t>(hn::Lanes(d), part.width - i);
                     for (int64_t l = 0; l < lanes; ++l) sum[i + l] += o[l], product[i + l] += t[l];
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
          m1 += double(line.a[j]) * sum[j];  // a = rstd w
          m2 += double(line.a[j]) * product[j] * r;
          sums[part.n * s.c + part.first + j] = float(sum[j]);
          sums[(s.n + part.n) * s.c + part.first + j] = float(product[j] * r);
        }
        m1 /= count, m2 /= count;
        for (int64_t j = i; j < i + parts.per_group; ++j) {
          k0[j] = line.a[j];
          k2[j] = float(-m2 * r);
          k1[j] = float(-m1 + m2 * r * mean[g]);
        }
      }
      each_round(
          s.pixels, part.width, [&](int64_t from, int64_t to, int64_t i, auto load, auto store) {
            const V c0 = load(k0.data() + i), c1 = load(k1.data() + i), c2 = load(k2.data() + i);
            for (int64_t p = from; p < to; ++p) {
              const int64_t at = base + p * s.c + i;
              store(hn::MulAdd(c0, load(dx + at), hn::MulAdd(c2, load(x + at), c1)), dx + at);
            }
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
HWY_EXPORT(Backward);

void norm_statistics(const NormShape& shape, const float* x, float eps, float* mean, float* rstd,
                     const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Statistics)(shape, x, eps, mean, rstd, parallel);
}

void norm_apply(const NormShape& shape, const NormParameters& parameters, const float* x,
                const float* mean, const float* rstd, float* y, const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Apply)(shape, parameters, x, mean, rstd, y, parallel);
}

void norm_backward(const NormShape& shape, const NormParameters& parameters, const float* x,
                   const float* mean, const float* rstd, const float* dy, float* dx, float* sums,
                   const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Backward)
  (shape, parameters, x, mean, rstd, dy, dx, sums, parallel);
}

}  // namespace tweedie::kernels
#endif

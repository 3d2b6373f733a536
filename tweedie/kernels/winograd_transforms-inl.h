// The transforms of a line in F(4x4,3x3) and F(2x2,3x3) (Lavin & Gray 2015, section 4). Included
// once for each instruction set.
#include <hwy/highway.h>

#if defined(TWEEDIE_KERNELS_TRANSFORMS_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef TWEEDIE_KERNELS_TRANSFORMS_TOGGLE
#undef TWEEDIE_KERNELS_TRANSFORMS_TOGGLE
#else
#define TWEEDIE_KERNELS_TRANSFORMS_TOGGLE
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class V>
HWY_INLINE void put_sum_and_difference(V a, V b, V* out) {
  out[0] = hn::Add(a, b);
  out[1] = hn::Sub(a, b);
}

// The transforms of a line for tiles of M outputs.
template <int M>
struct Form;

// F(4x4,3x3), at the points 0, 1, -1, 2, -2.
template <>
struct Form<4> {
  // B^T d: 6 -> 6.
  template <class V>
  static HWY_INLINE void input(const V* d, V* out) {
    const hn::DFromV<V> t;
    const V four = hn::Set(t, 4), five = hn::Set(t, 5), two = hn::Set(t, 2);
    const V a = hn::NegMulAdd(four, d[2], d[4]), b = hn::NegMulAdd(four, d[1], d[3]);
    const V c = hn::Sub(d[4], d[2]), e = hn::Mul(two, hn::Sub(d[3], d[1]));
    out[0] = hn::MulAdd(four, d[0], hn::NegMulAdd(five, d[2], d[4]));
    put_sum_and_difference(a, b, out + 1);
    put_sum_and_difference(c, e, out + 3);
    out[5] = hn::MulAdd(four, d[1], hn::NegMulAdd(five, d[3], d[5]));
  }
  // A^T m: 6 -> 4.
  template <class V>
  static HWY_INLINE void output(const V* m, V* out) {
    const hn::DFromV<V> t;
    const V s1 = hn::Add(m[1], m[2]), d1 = hn::Sub(m[1], m[2]), s2 = hn::Add(m[3], m[4]),
            d2 = hn::Sub(m[3], m[4]);
    out[0] = hn::Add(hn::Add(m[0], s1), s2);
    out[1] = hn::MulAdd(hn::Set(t, 2), d2, d1);
    out[2] = hn::MulAdd(hn::Set(t, 4), s2, s1);
    out[3] = hn::Add(hn::MulAdd(hn::Set(t, 8), d2, d1), m[5]);
  }
  // A^T m with its rows added up in pairs: 6 -> 2.
  template <class V>
  static HWY_INLINE void pooled(const V* m, V* out) {
    const hn::DFromV<V> t;
    const V two = hn::Add(m[1], m[1]);
    const V rest = hn::MulSub(hn::Set(t, 3), m[3], m[4]);
    out[0] = hn::Add(hn::Add(m[0], two), rest);
    out[1] = hn::MulAdd(hn::Set(t, 4), rest, hn::Add(m[5], two));
  }
  // A y: 4 -> 6.
  template <class V>
  static HWY_INLINE void gradient(const V* y, V* out) {
    const hn::DFromV<V> t;
    const V two = hn::Set(t, 2), four = hn::Set(t, 4);
    const V even = hn::Add(y[0], y[2]), odd = hn::Add(y[1], y[3]);
    const V even2 = hn::MulAdd(four, y[2], y[0]), odd2 = hn::Mul(two, hn::MulAdd(four, y[3], y[1]));
    out[0] = y[0];
    put_sum_and_difference(even, odd, out + 1);
    put_sum_and_difference(even2, odd2, out + 3);
    out[5] = y[3];
  }
  // G g: 3 -> 6.
  template <class V>
  static HWY_INLINE void filter(const V* g, V* out) {
    const hn::DFromV<V> t;
    const V even = hn::Mul(hn::Set(t, -1.0f / 6), hn::Add(g[0], g[2]));
    const V odd = hn::Mul(hn::Set(t, -1.0f / 6), g[1]);
    const V even2 = hn::MulAdd(hn::Set(t, 1.0f / 24), g[0], hn::Mul(hn::Set(t, 1.0f / 6), g[2]));
    const V odd2 = hn::Mul(hn::Set(t, 1.0f / 12), g[1]);
    out[0] = hn::Mul(hn::Set(t, 0.25f), g[0]);
    put_sum_and_difference(even, odd, out + 1);
    put_sum_and_difference(even2, odd2, out + 3);
    out[5] = g[2];
  }
  // G^T u: 6 -> 3.
  template <class V>
  static HWY_INLINE void filter_back(const V* u, V* out) {
    const hn::DFromV<V> t;
    const V s1 = hn::Mul(hn::Set(t, -1.0f / 6), hn::Add(u[1], u[2])), s2 = hn::Add(u[3], u[4]);
    const V d1 = hn::Mul(hn::Set(t, 1.0f / 6), hn::Sub(u[2], u[1])), d2 = hn::Sub(u[3], u[4]);
    out[0] = hn::MulAdd(hn::Set(t, 0.25f), u[0], hn::MulAdd(hn::Set(t, 1.0f / 24), s2, s1));
    out[1] = hn::MulAdd(hn::Set(t, 1.0f / 12), d2, d1);
    out[2] = hn::Add(hn::MulAdd(hn::Set(t, 1.0f / 6), s2, s1), u[5]);
  }
};

// F(2x2,3x3), at the points 0, 1, -1.
template <>
struct Form<2> {
  // B^T d: 4 -> 4.
  template <class V>
  static HWY_INLINE void input(const V* d, V* out) {
    out[0] = hn::Sub(d[0], d[2]);
    out[1] = hn::Add(d[1], d[2]);
    out[2] = hn::Sub(d[2], d[1]);
    out[3] = hn::Sub(d[1], d[3]);
  }
  // A^T m: 4 -> 2.
  template <class V>
  static HWY_INLINE void output(const V* m, V* out) {
    out[0] = hn::Add(m[0], hn::Add(m[1], m[2]));
    out[1] = hn::Sub(hn::Sub(m[1], m[2]), m[3]);
  }
  // A^T m with its rows added up: 4 -> 1.
  template <class V>
  static HWY_INLINE void pooled(const V* m, V* out) {
    out[0] = hn::Sub(hn::Add(m[0], hn::Add(m[1], m[1])), m[3]);
  }
  // A y: 2 -> 4.
  template <class V>
  static HWY_INLINE void gradient(const V* y, V* out) {
    out[0] = y[0];
    out[1] = hn::Add(y[0], y[1]);
    out[2] = hn::Sub(y[0], y[1]);
    out[3] = hn::Neg(y[1]);
  }
  // G g: 3 -> 4.
  template <class V>
  static HWY_INLINE void filter(const V* g, V* out) {
    const V half = hn::Set(hn::DFromV<V>(), 0.5f);
    const V even = hn::Mul(half, hn::Add(g[0], g[2])), odd = hn::Mul(half, g[1]);
    out[0] = g[0];
    put_sum_and_difference(even, odd, out + 1);
    out[3] = g[2];
  }
  // G^T u: 4 -> 3.
  template <class V>
  static HWY_INLINE void filter_back(const V* u, V* out) {
    const V half = hn::Set(hn::DFromV<V>(), 0.5f);
    const V even = hn::Mul(half, hn::Add(u[1], u[2]));
    out[0] = hn::Add(u[0], even);
    out[1] = hn::Mul(half, hn::Sub(u[1], u[2]));
    out[2] = hn::Add(even, u[3]);
  }
};

// Four rows, the first `columns` of them, as columns of four: the first `rows` numbers of each are
// stored, `stride` floats from one to the next.
template <class D>
HWY_INLINE void store_columns(D d, const hn::Vec<D>* four, int64_t rows, int64_t columns, float* to,
                              int64_t stride) {
  HWY_ALIGN float turned[hn::MaxLanes(D())][4];
  hn::StoreInterleaved4(four[0], four[1], four[2], four[3], d, turned[0]);
  for (int64_t i = 0; i < columns; ++i)
    if (rows >= 4)
      std::copy_n(turned[i], 4, to + i * stride);
    else
      std::copy_n(turned[i], rows, to + i * stride);
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

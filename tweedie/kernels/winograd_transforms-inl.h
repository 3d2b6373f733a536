// The transforms of a line in F(4x4,3x3), at the points 0, 1, -1, 2, -2 (Lavin & Gray 2015,
// section 4.2). Included once for each instruction set.
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

// A^T m with its rows added up in pairs: 6 -> 2.
template <class V>
HWY_INLINE void transform_output_pooled(const V m0, const V m1, const V m3, const V m4, const V m5,
                                        V out[2]) {
  const hn::DFromV<V> t;
  const V two = hn::Add(m1, m1);
  const V rest = hn::MulSub(hn::Set(t, 3), m3, m4);
  out[0] = hn::Add(hn::Add(m0, two), rest);
  out[1] = hn::MulAdd(hn::Set(t, 4), rest, hn::Add(m5, two));
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

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

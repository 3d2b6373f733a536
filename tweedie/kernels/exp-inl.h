// exp() and SiLU of vectors. Included once for each instruction set.
#include <hwy/highway.h>

#if defined(TWEEDIE_KERNELS_EXP_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef TWEEDIE_KERNELS_EXP_TOGGLE
#undef TWEEDIE_KERNELS_EXP_TOGGLE
#else
#define TWEEDIE_KERNELS_EXP_TOGGLE
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// e^x within 2e-7, times 1 + 1e-7 |x|; e^-87 below that and e^88 above. Half as many instructions
// as Highway's, which goes down to denormals.
template <class V>
HWY_INLINE V exp(V x) {
  const hn::DFromV<V> d;
  const hn::RebindToSigned<decltype(d)> integers;
  const V log2e = hn::Set(d, 1.44269504f);
  // Not by Min and Max, which lose a NaN on some targets.
  const V least = hn::Set(d, -87), most = hn::Set(d, 88);
  x = hn::IfThenElse(hn::Lt(x, least), least, hn::IfThenElse(hn::Gt(x, most), most, x));
  // n = round(x / ln 2): the last bits of 1.5 2^23 + 127 + n are the exponent of 2^n.
  const V magic = hn::Set(d, 12582912.0f + 127);
  const V t = hn::MulAdd(x, log2e, magic);
  const V f = hn::MulSub(x, log2e, hn::Sub(t, magic));
  // The polynomial with the least relative error from 2^f over -1/2..1/2, 2e-9.
  V p = hn::Set(d, 1.5345811e-4f);
  p = hn::MulAdd(p, f, hn::Set(d, 1.3399931e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 9.6184891e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.5503286e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4022646e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9314718e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  return hn::Mul(p, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(integers, t))));
}

template <class V>
HWY_INLINE V sigmoid(V z) {
  const hn::DFromV<V> d;
  const V one = hn::Set(d, 1);
  return hn::Div(one, hn::Add(one, exp(hn::Neg(z))));
}

template <class V>
HWY_INLINE V silu(V z) {
  return hn::Mul(z, sigmoid(z));
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

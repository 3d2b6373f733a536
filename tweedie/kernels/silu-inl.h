// SiLU of a vector. Included once for each instruction set.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#if defined(TWEEDIE_KERNELS_SILU_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef TWEEDIE_KERNELS_SILU_TOGGLE
#undef TWEEDIE_KERNELS_SILU_TOGGLE
#else
#define TWEEDIE_KERNELS_SILU_TOGGLE
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class V>
HWY_INLINE V sigmoid(V z) {
  const hn::DFromV<V> d;
  const V one = hn::Set(d, 1);
  // Beyond this exp() overflows to a NaN in the product below.
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(z), hn::Set(d, 88)))));
}

template <class V>
HWY_INLINE V silu(V z) {
  return hn::Mul(z, sigmoid(z));
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

// Vectors of which memory holds the first lanes only. Highway's masked operations read, and on NEON
// write back, the others too (HWY_MEM_OPS_MIGHT_FAULT). Included once for each instruction set.
#include <hwy/highway.h>

#include <algorithm>

#if defined(TWEEDIE_KERNELS_PARTIAL_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef TWEEDIE_KERNELS_PARTIAL_TOGGLE
#undef TWEEDIE_KERNELS_PARTIAL_TOGGLE
#else
#define TWEEDIE_KERNELS_PARTIAL_TOGGLE
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The first `count` lanes from memory, fewer than a vector has; the others are zero.
template <class D>
HWY_INLINE hn::Vec<D> load_first(D d, size_t count, const hn::TFromD<D>* from) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())] = {};
  std::copy_n(from, count, lanes);
  return hn::Load(d, lanes);
#else
  return hn::MaskedLoad(hn::FirstN(d, count), d, from);
#endif
}

template <class D>
HWY_INLINE void store_first(hn::Vec<D> v, D d, size_t count, hn::TFromD<D>* to) {
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  std::copy_n(lanes, count, to);
#else
  hn::BlendedStore(v, hn::FirstN(d, count), d, to);
#endif
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

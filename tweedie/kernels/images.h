// Images in memory.
#pragma once
#include <cstdint>

namespace tweedie::kernels {

/// [n,h,w,c], channels innermost, no gaps. The last `beside_channels` of the c channels may lie in
/// an array of their own: two images count as one without being copied together.
template <class T>
struct Images {
  T* data;
  T* beside = nullptr;
  int64_t beside_channels = 0;
};

}  // namespace tweedie::kernels

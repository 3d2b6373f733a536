// Memory that a thread keeps from one call of a kernel to the next.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace tweedie::kernels {

/// At least that many floats at the start of a page; what they hold is left from before. A kernel
/// that calls no other one may use every `which` from 0 to 3.
inline float* scratch(int which, int64_t floats) {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<float, Free> memory[4];
  thread_local int64_t sizes[4] = {};
  if (sizes[which] < floats) {
    memory[which].reset();
    sizes[which] = 0;
    const size_t bytes = (static_cast<size_t>(floats) * sizeof(float) + 4095) / 4096 * 4096;
    memory[which].reset(static_cast<float*>(std::aligned_alloc(4096, bytes)));
    if (!memory[which]) throw std::bad_alloc();
    sizes[which] = floats;
  }
  return memory[which].get();
}

}  // namespace tweedie::kernels

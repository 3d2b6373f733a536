// Compiled with OpenMP, without which at::parallel_for runs on one thread.
#include <ATen/Parallel.h>

#include "tweedie/kernels/parallel.h"

#ifndef _OPENMP
#error "this file needs OpenMP"
#endif

namespace tweedie::kernels {

void on_torch_threads(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) { work(begin, end); });
}

}  // namespace tweedie::kernels

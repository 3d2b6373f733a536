// Compiled with OpenMP, without which at::parallel_for runs on one thread.
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#include "tweedie/kernels/parallel.h"

#ifndef _OPENMP
#error "this file needs OpenMP"
#endif

namespace tweedie::kernels {

void on_torch_threads(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  if (threads == 1 || count <= 1) return work(0, count);
  // Whoever is done takes the next piece: cores are never equally fast.
  const int64_t pieces = std::min(count, 8 * threads);
  std::atomic<int64_t> next = 0;
  at::parallel_for(0, threads, 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < pieces; i = next++)
      work(i * count / pieces, (i + 1) * count / pieces);
  });
}

}  // namespace tweedie::kernels

// Compiled with OpenMP, without which at::parallel_for runs on one thread.
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "tweedie/kernels/parallel.h"

#ifndef _OPENMP
#error "this file needs OpenMP"
#endif

namespace tweedie::kernels {
namespace {

struct alignas(64) Next {
  std::atomic<int64_t> piece;
};

}  // namespace

void on_torch_threads(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  if (threads == 1 || count <= 1) return work(0, count);
  // Neighbouring pieces are a thread's own, as in the call before: what it wrote is in its cache,
  // and a line that another core wrote may be slow to come. Who is done helps the next thread, for
  // cores are never equally fast.
  const int64_t pieces = std::min(count, 8 * threads);
  const auto first_of = [&](int64_t thread) { return thread * pieces / threads; };
  std::vector<Next> next(threads);
  for (int64_t t = 0; t < threads; ++t) next[t].piece = first_of(t);
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t) {
    for (int64_t t = begin; t < begin + threads; ++t) {
      const int64_t owner = t % threads, last = first_of(owner + 1);
      for (int64_t i = next[owner].piece++; i < last; i = next[owner].piece++)
        work(i * count / pieces, (i + 1) * count / pieces);
    }
  });
}

}  // namespace tweedie::kernels

// How the kernels use several threads.
#pragma once
#include <cstdint>
#include <functional>

namespace tweedie::kernels {

/// Calls work(begin, end) on parts of 0..count, from several threads at once; returns when all are
/// done. What a kernel computes does not depend on how the parts are cut.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t, int64_t)>& work)>;

/// The threads of LibTorch (at::set_num_threads), so that its operations and ours do not compete.
void on_torch_threads(int64_t count, const std::function<void(int64_t, int64_t)>& work);

}  // namespace tweedie::kernels

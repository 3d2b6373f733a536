// The learning rate as a function of the step.
#pragma once
#include <cstdint>

#include "tweedie/train/options.h"

namespace tweedie {

/// The rate of update number `step` (0 is the first): linear warm-up over warmup_steps, then
/// constant or cosine, which reaches 0 after the last of `total` steps (SGDR Eq. 5, one cycle).
double learning_rate(const TrainOptions& options, int64_t step, std::optional<int64_t> total);

}  // namespace tweedie

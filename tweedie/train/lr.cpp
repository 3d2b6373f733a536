#include "tweedie/train/lr.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tweedie {

double learning_rate(const TrainOptions& options, int64_t step, std::optional<int64_t> total) {
  const int64_t warmup = options.warmup_steps;
  if (step < warmup) return options.learning_rate * double(step + 1) / double(warmup);
  if (options.lr_schedule == "constant") return options.learning_rate;
  const int64_t span = std::max<int64_t>(1, total.value() - warmup);
  const double done = std::min(1.0, double(step - warmup) / double(span));
  return options.learning_rate * (1 + std::cos(std::numbers::pi * done)) / 2;  // SGDR Eq. 5
}

}  // namespace tweedie

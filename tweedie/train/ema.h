// The running mean of the weights: the model that is sampled from.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "tweedie/train/options.h"

namespace tweedie {

using at::Tensor;

/// e <- d e + (1 - d) p after every update, d = ema_decay, or min(ema_decay, (1 + t)/(10 + t)) with
/// warm-up, where t = 0, 1, 2, ... counts the updates before this one.
class Ema {
 public:
  /// Starts as a copy of the parameters.
  Ema(std::vector<Tensor> parameters, const TrainOptions& options);
  /// AdamW::step() does the same in its own pass over memory.
  void update(int64_t t);
  double decay(int64_t t) const;
  /// Copies `tensors` in, in the order of the parameters.
  void load(const std::vector<Tensor>& tensors);

  /// Exchanges the mean with the parameters, in no time; a second call undoes it.
  void swap();

  const std::vector<Tensor>& tensors() const { return mean_; }

 private:
  std::vector<Tensor> parameters_, mean_;
  double decay_;
  bool warmup_;
};

}  // namespace tweedie

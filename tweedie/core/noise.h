// Where a sampler's randomness comes from.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "tweedie/core/rng.h"

namespace tweedie {

using at::Tensor;

/// A sequence of standard normal tensors [N,C,H,W], float32, on the CPU.
class Noise {
 public:
  virtual ~Noise() = default;
  /// x_T before a sampler's own scaling. Called once, before any draw().
  virtual Tensor init() = 0;
  /// The next of the draws a sampler makes on its way.
  virtual Tensor draw() = 0;
};

/// Noise of image i is a function of (seed, i) alone: the same for every batch size, thread count
/// and n.
class SeededNoise : public Noise {
 public:
  /// Images first .. first+sizes[0]-1; sizes is [N,C,H,W].
  SeededNoise(uint64_t seed, int64_t first, std::vector<int64_t> sizes);
  Tensor init() override { return draw(); }
  Tensor draw() override;

 private:
  std::vector<int64_t> sizes_;
  std::vector<Rng> rngs_;
};

/// Noise brought along: `init` [N,C,H,W] and `steps` [S,N,C,H,W] (may be undefined), in order of
/// use. Throws Error when a draw is asked for that is not there; spare draws are ignored.
class ReplayedNoise : public Noise {
 public:
  ReplayedNoise(Tensor init, Tensor steps);
  Tensor init() override { return init_; }
  Tensor draw() override;

 private:
  Tensor init_, steps_;
  int64_t next_ = 0;
};

}  // namespace tweedie

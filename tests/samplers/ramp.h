// What the sampler tests share: noise that is counted, denoisers that say one thing, and the
// model-free check of diffusers' scheduler tests: x_i = i/768, network(x, t) = x t/(t + 1), sum
// |x|.
#pragma once
#include <ATen/ATen.h>

#include <functional>

#include "tweedie/core/noise.h"
#include "tweedie/process/denoiser.h"

namespace tweedie {

/// Gives out ones and counts the draws.
class CountedOnes : public Noise {
 public:
  explicit CountedOnes(std::vector<int64_t> sizes) : sizes_(std::move(sizes)) {}
  Tensor init() override { return at::ones(sizes_); }
  Tensor draw() override { return ++draws, at::ones(sizes_); }
  int64_t draws = 0;

 private:
  std::vector<int64_t> sizes_;
};

/// x_0 and eps are the same number everywhere, whatever x is.
inline Denoiser constant(double x0, double eps) {
  return [=](const Tensor& x, const Level&) {
    return Estimate{at::full_like(x, x0), at::full_like(x, eps), {}};
  };
}

inline Tensor scalar(double value) { return at::full({1, 1, 1, 1}, value, at::kDouble); }

inline Tensor ramp() {
  return (at::arange(768, at::kFloat) / 768).view({3, 8, 8, 4}).permute({3, 0, 1, 2}).contiguous();
}

inline Tensor ramp_network(const Tensor& x, const Tensor& t) {
  return x * (t / (t + 1)).view({-1, 1, 1, 1});
}

/// The same draws that torch.Generator().manual_seed(seed) gives in Python.
class TorchNoise : public Noise {
 public:
  TorchNoise(uint64_t seed, std::vector<int64_t> sizes)
      : generator_(at::globalContext().defaultGenerator(at::kCPU).clone()),
        sizes_(std::move(sizes)) {
    generator_.set_current_seed(seed);
  }
  Tensor init() override { return draw(); }
  Tensor draw() override { return at::randn(sizes_, generator_); }

 private:
  at::Generator generator_;
  std::vector<int64_t> sizes_;
};

}  // namespace tweedie

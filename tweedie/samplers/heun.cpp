// Heun's second-order method for the probability-flow ODE, EDM Alg. 1. Two calls a step, one on the
// last. Draws no noise.
#include <ATen/ATen.h>

#include "tweedie/samplers/walk.h"

namespace tweedie {

Tensor heun(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions&, Noise&,
            const StepFn& on_step) {
  return walk("heun", x, grid, on_step,
              [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
                return heun_step(denoise, x, at, next);
              });
}

}  // namespace tweedie

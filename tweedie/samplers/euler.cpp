// Euler's method for the probability-flow ODE, EDM Alg. 1 without its second slope: ddim at eta 0
// with the noise that x_0 implies. Draws no noise.
#include <ATen/ATen.h>

#include "tweedie/samplers/walk.h"

namespace tweedie {

Tensor euler(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions&, Noise&,
             const StepFn& on_step) {
  return walk("euler", x, grid, on_step,
              [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
                const Evaluation e = evaluate(denoise, x, at);
                return Step{next.alpha * e.x0 + next.sigma * e.eps, e.x0};  // EDM Alg. 1 line 5
              });
}

}  // namespace tweedie

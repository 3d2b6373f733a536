// The midpoint method for the probability-flow ODE: the slope half way in log-SNR serves for the
// whole step (DPM-Solver Alg. 1). Two calls a step; the step to the data, and one from a
// level without signal, is Euler's. Draws no noise.
#include <ATen/ATen.h>

#include <cmath>

#include "tweedie/samplers/walk.h"

namespace tweedie {

Tensor dpm2(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions&, Noise&,
            const StepFn& on_step) {
  const Path& path = path_of("dpm2", grid);
  return walk("dpm2", x, grid, on_step,
              [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
                const Evaluation e = evaluate(denoise, x, at);
                if (next.sigma == 0 || at.alpha == 0)
                  return Step{next.alpha * e.x0 + next.sigma * e.eps, e.x0};
                const Level middle = path.at_ratio(std::sqrt(noise_ratio(at) * noise_ratio(next)));
                const Tensor half = middle.alpha * e.x0 + middle.sigma * e.eps;
                const Tensor slope = evaluate(denoise, half, middle).eps;
                return Step{transfer(x, at, next, slope), e.x0};  // DPM-Solver Alg. 1
              });
}

}  // namespace tweedie

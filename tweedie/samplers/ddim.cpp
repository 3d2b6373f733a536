// Denoising diffusion implicit models, DDIM Eq. 12. With eta > 0 draws noise on every step, also
// the last.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "tweedie/process/posterior.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {

Tensor ddim(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
            Noise& noise, const StepFn& on_step) {
  if (!(options.eta >= 0 && options.eta <= 1)) fail("[ddim] eta: {} is outside 0..1", options.eta);
  return walk(
      "ddim", x, grid, on_step, [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
        const Estimate e = denoise(x, at);
        const Tensor eps = options.rederive_eps ? (x - at.alpha * e.x0) / at.sigma : e.eps;
        const double variance =
            options.eta * options.eta * posterior(at, next).variance;  // DDIM Eq. 16
        const double direction = std::sqrt(std::max(next.sigma * next.sigma - variance, 0.0));
        Tensor to = next.alpha * e.x0 + direction * eps;  // DDIM Eq. 12
        if (options.eta > 0) to = to + std::sqrt(variance) * noise.draw().to(x.options());
        return Step{to, e.x0};
      });
}

}  // namespace tweedie

// Denoising diffusion implicit models, DDIM Eq. 12. With eta > 0 draws noise on every step, also
// the last.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "tweedie/process/posterior.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {

Tensor ddim(const Denoiser& denoise, Tensor x, const std::vector<Level>& levels,
            const SamplerOptions& options, Noise& noise, const StepFn& on_step) {
  if (!(options.eta >= 0 && options.eta <= 1)) fail("[ddim] eta: {} is outside 0..1", options.eta);
  const int64_t total = static_cast<int64_t>(levels.size()) - 1;
  for (int64_t i = 0; i < total; ++i) {
    const Level at = levels[i], next = levels[i + 1];
    const Estimate e = denoise(x, at);
    const Tensor eps = options.rederive_eps ? (x - at.alpha * e.x0) / at.sigma : e.eps;
    const double variance =
        options.eta * options.eta * posterior(at, next).variance;  // DDIM Eq. 16
    const double direction = std::sqrt(std::max(next.sigma * next.sigma - variance, 0.0));
    x = next.alpha * e.x0 + direction * eps;  // DDIM Eq. 12
    if (options.eta > 0) x = x + std::sqrt(variance) * noise.draw().to(x.options());
    require_finite(x, "ddim", i + 1, at);
    if (on_step) on_step(i + 1, total, x, e.x0);
  }
  return x;
}

}  // namespace tweedie

// EDM's stochastic sampler, EDM Alg. 2: before a step some noise is added, up to the level that it
// then starts from. Draws noise on each step where gamma > 0. s_churn = 0 is heun.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/samplers/walk.h"

namespace tweedie {

Tensor edm(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
           Noise& noise, const StepFn& on_step) {
  const double most = std::numbers::sqrt2 - 1;
  const double churn = std::min(options.s_churn / static_cast<double>(grid.steps()), most);
  return walk(
      "edm", x, grid, on_step, [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
        const double r = noise_ratio(at);
        const bool within = at.alpha > 0 && r >= options.s_min && r <= options.s_max;
        const double gamma = within ? churn : 0;
        if (gamma == 0) return heun_step(denoise, x, at, next);
        const double r_hat = r * (1 + gamma);  // EDM Alg. 2 line 5
        const Level up = path_of("edm", grid).at_ratio(r_hat);
        const Tensor z = options.s_noise * noise.draw().to(x.options());
        const double added = std::sqrt(r_hat * r_hat - r * r);
        return heun_step(denoise, up.alpha * (x / at.alpha + added * z), up, next);  // line 6
      });
}

}  // namespace tweedie

// SDE-DPM-Solver++(2M): as 2M, along the reverse SDE. One call a step; draws noise on every step,
// also the last.
#include <ATen/ATen.h>

#include <cmath>

#include "tweedie/samplers/multistep.h"

namespace tweedie {

Tensor dpmpp_2m_sde(const Denoiser& denoise, Tensor x, const Grid& grid,
                    const SamplerOptions& options, Noise& noise, const StepFn& on_step) {
  require_dpmpp_type("dpmpp_2m_sde", options);
  const bool exact = options.solver_type == "heun";
  History history(options, 2);
  return walk("dpmpp_2m_sde", x, grid, on_step,
              [&](const Tensor& x, int64_t i, const Level& at, const Level& next) {
                history.add({at, denoise(x, at).x0, {}});
                const Tensor& x0 = history[0].x0;
                const double h = log_snr_step("dpmpp_2m_sde", at, next);
                if (h == 0) return Step{x, x0};
                const double gain = -std::expm1(-2 * h),
                             shrink = next.sigma / at.sigma * std::exp(-h);
                const Tensor z = noise.draw().to(x.options());
                Tensor to = shrink * x + (next.alpha * gain) * x0 +
                            next.sigma * std::sqrt(gain) * z;  // DPM++
                if (order_of_step(history, grid, i, options) == 2) {
                  const Tensor slope = (x0 - history[1].x0) / -history.distance(1, h);
                  to = to + next.alpha * (exact ? -psi(1, -2 * h) : gain / 2) * slope;  // DPM++
                }
                return Step{to, x0};
              });
}

}  // namespace tweedie

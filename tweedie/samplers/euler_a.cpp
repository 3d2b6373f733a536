// Euler's method down to a lower level than the next, and fresh noise up to it: ddim at eta 1 with
// the noise that x_0 implies. Draws noise on every step, also the last.
#include <ATen/ATen.h>

#include <cmath>

#include "tweedie/samplers/walk.h"

namespace tweedie {

Tensor euler_a(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions&,
               Noise& noise, const StepFn& on_step) {
  return walk("euler_a", x, grid, on_step,
              [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
                const Evaluation e = evaluate(denoise, x, at);
                const double fall = next.sigma * at.alpha / (next.alpha * at.sigma);  // r'/r
                const double down = next.sigma * fall;
                const double up = next.sigma * std::sqrt(1 - fall * fall);  // DDIM Eq. 16, eta 1
                const Tensor z = noise.draw().to(x.options());
                return Step{next.alpha * e.x0 + down * e.eps + up * z, e.x0};  // DDIM Eq. 12
              });
}

}  // namespace tweedie

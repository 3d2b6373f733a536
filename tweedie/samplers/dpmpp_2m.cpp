// DPM-Solver++(2M): a line in lambda through the last 2 estimates of x_0, integrated, DPM++ Alg. 2.
// One call a step. Draws no noise.
#include <ATen/ATen.h>

#include "tweedie/samplers/multistep.h"

namespace tweedie {

Tensor dpmpp_2m(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
                Noise&, const StepFn& on_step) {
  require_dpmpp_type("dpmpp_2m", options);
  History history(options, 2);
  return walk(
      "dpmpp_2m", x, grid, on_step,
      [&](const Tensor& x, int64_t i, const Level& at, const Level& next) {
        history.add({at, denoise(x, at).x0, {}});
        const int64_t order = order_of_step(history, grid, i, options);
        return Step{dpmpp_step("dpmpp_2m", x, history, next, order, options), history[0].x0};
      });
}

}  // namespace tweedie

// Improved pseudo linear multistep: Adams-Bashforth of the last noises, then DDIM's step along it
// (PNDM Sec. 3; DEIS). One call a step. Draws no noise. By diffusers' rules x_0 is taken to be 0
// where no signal is left.
#include <ATen/ATen.h>

#include "tweedie/samplers/multistep.h"

namespace tweedie {

Tensor ipndm(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
             Noise&, const StepFn& on_step) {
  History history(options, order_of("ipndm", options, 4, 4), /*equal_steps=*/true);
  return walk("ipndm", x, grid, on_step,
              [&](const Tensor& x, int64_t, const Level& at, const Level& next) {
                history.add(evaluate(denoise, x, at));
                const Evaluation& e = history[0];
                const int64_t order = history.size();
                if (at.alpha == 0 && options.diffusers()) return Step{next.sigma * e.eps, e.x0};
                if (order == 1) return Step{next.alpha * e.x0 + next.sigma * e.eps, e.x0};
                std::vector<Tensor> noises;
                for (int64_t j = 0; j < order; ++j) noises.push_back(history[j].eps);
                return Step{transfer(x, at, next, adams_bashforth(noises, order)), e.x0};
              });
}

}  // namespace tweedie

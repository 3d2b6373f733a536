// UniPC: a polynomial in lambda through the last estimates of x_0, integrated; the next level's
// estimate then corrects the step that led there (UniPC Sec. 3, data prediction). One call a step.
// Draws no noise.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "tweedie/samplers/multistep.h"

namespace tweedie {
namespace {

// From history[0].at to `next`; with `ahead`, the estimate there, as the corrector.
Tensor unipc_step(const Tensor& x, const History& history, const Level& next, int64_t order,
                  bool bh1, const Tensor& ahead = {}) {
  const Evaluation& e = history[0];
  const double h = log_snr_step("unipc", e.at, next), g = -h;
  if (h == 0) return x;
  const double B = bh1 ? g : std::expm1(g);
  const Tensor base = (next.sigma / e.at.sigma) * x - next.alpha * std::expm1(g) * e.x0;

  std::vector<double> distances;
  std::vector<Tensor> slopes;
  for (int64_t j = 1; j < order; ++j) {
    distances.push_back(history.distance(j, h));
    slopes.push_back((history[j].x0 - e.x0) / distances.back());
  }
  if (ahead.defined()) {
    distances.push_back(1);
    slopes.push_back(ahead - e.x0);
  }
  if (slopes.empty()) return base;
  const std::vector<double> rho = unipc_weights(distances, g, B);
  Tensor sum = rho[0] * slopes[0];
  for (size_t j = 1; j < slopes.size(); ++j) sum = sum + rho[j] * slopes[j];
  return base - next.alpha * B * sum;  // UniPC Alg. 1, 2
}

}  // namespace

Tensor unipc(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
             Noise&, const StepFn& on_step) {
  const std::string type = options.solver_type.value_or("bh2");
  if (type != "bh1" && type != "bh2") fail_unknown("[unipc] solver_type", type, {"bh1", "bh2"});
  History history(options, order_of("unipc", options, 2, 3));
  Tensor start;       // where the last step began
  int64_t order = 0;  // and what it was
  return walk("unipc", x, grid, on_step,
              [&](Tensor x, int64_t i, const Level& at, const Level& next) {
                const Tensor x0 = denoise(x, at).x0;
                if (options.corrector && order > 0 && history[0].at.alpha > 0)
                  x = unipc_step(start, history, at, order, type == "bh1", x0);
                history.add({at, x0, {}});
                order = order_of_step(history, grid, i, options);
                if (options.diffusers() && options.lower_order_final)
                  order = std::min(order, grid.steps() - i);
                start = x;
                return Step{unipc_step(x, history, next, order, type == "bh1"), x0};
              });
}

}  // namespace tweedie

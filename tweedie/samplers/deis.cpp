// DEIS: the noise as a polynomial through its last values, integrated over r = sigma/alpha (DEIS
// Sec. 3). The polynomial's variable is t (the paper's tAB), r or ln r. One call a step. Draws no
// noise.
#include <ATen/ATen.h>

#include <cmath>

#include "tweedie/samplers/multistep.h"
#include "tweedie/samplers/quadrature.h"

namespace tweedie {
Tensor deis(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
            Noise&, const StepFn& on_step) {
  static const std::vector<QuadratureNode> nodes = gauss_legendre(16);
  const auto variable = [&](const Level& at) {
    if (options.basis == "t") return at.t;
    const double r = noise_ratio(at);
    return options.basis == "rho" ? r : std::log(r);
  };
  if (options.basis == "t") path_of("deis", grid);
  const auto level_at = [&](double r) { return grid.path ? grid.path.at_ratio(r) : Level{1, r}; };
  History history(options, order_of("deis", options, 2, 3));
  return walk(
      "deis", x, grid, on_step,
      [&](const Tensor& x, int64_t i, const Level& at, const Level& next) {
        history.add(evaluate(denoise, x, at));
        const Evaluation& e = history[0];
        Tensor to = next.alpha * e.x0 + next.sigma * e.eps;
        const int64_t order = order_of_step(history, grid, i, options);
        std::vector<double> points;
        for (int64_t j = 0; j < order; ++j) points.push_back(variable(history[j].at));
        const double from = std::log(noise_ratio(at)), span = std::log(noise_ratio(next)) - from;
        for (int64_t j = 1; j < order; ++j) {
          double C = 0;  // the coefficients add up to r' - r, so that of e is known from the others
          for (const QuadratureNode& node : nodes) {
            const double r = std::exp(from + span * (node.at + 1) / 2);
            C += node.weight * span / 2 * r *
                 lagrange(points, j, variable(level_at(r)));  // DEIS Sec. 3
          }
          to = to + next.alpha * C * (history[j].eps - e.eps);
        }
        return Step{to, e.x0};
      });
}

}  // namespace tweedie

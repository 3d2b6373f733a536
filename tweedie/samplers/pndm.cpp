// Pseudo numerical method: three Runge-Kutta steps of four calls each, then Adams-Bashforth of the
// last four noises (PNDM Sec. 3). Draws no noise. By diffusers' rules the points half way are found
// from T/N and not from the list, and the network's output is averaged, not the noise. Else one of
// the three that leads to the data, or over which the signal grows tenfold, is Euler's: from noise
// alone Runge-Kutta is unstable.
#include <ATen/ATen.h>

#include "tweedie/samplers/multistep.h"

namespace tweedie {

Tensor pndm(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
            Noise&, const StepFn& on_step) {
  const Path& path = path_of("pndm", grid);
  const bool theirs = options.diffusers();
  const bool v = theirs && options.prediction_type == "v_prediction";
  if (theirs && grid.steps() < 4) fail("[pndm] takes 4 steps at least by diffusers' rules");
  const auto output = [&](const Evaluation& e) {
    return v ? e.at.alpha * e.eps - e.at.sigma * e.x0 : e.eps;  // PD Sec. 4
  };
  const auto move = [&](const Tensor& x, const Level& at, const Level& to, const Tensor& mean) {
    return transfer(x, at, to, v ? at.sigma * x + at.alpha * mean : mean);  // PD Sec. 4
  };
  std::vector<Tensor> seen;  // newest first
  return walk(
      "pndm", x, grid, on_step,
      [&](const Tensor& x, int64_t i, const Level& at, const Level& landing) {
        const Level next = i < 3 ? grid.levels[i + 1] : landing;
        const Evaluation e = evaluate(denoise, x, at);
        seen.insert(seen.begin(), output(e));
        if (seen.size() > 4) seen.resize(4);
        if (!theirs && i < 3 && (next.sigma == 0 || at.alpha < next.alpha / 10))
          return Step{next.alpha * e.x0 + next.sigma * e.eps, e.x0};
        if (i >= 3) return Step{move(x, at, next, adams_bashforth(seen, 4)), e.x0};
        const double half = theirs ? static_cast<double>(grid.stride / 2) : (at.t - next.t) / 2;
        const Level down = path.at_time(at.t - half), up = path.at_time(next.t + half);
        const Tensor e1 = seen.front();
        const Tensor e2 = output(evaluate(denoise, move(x, at, down, e1), up));
        const Tensor e3 = output(evaluate(denoise, move(x, at, up, e2), up));
        const Tensor e4 = output(evaluate(denoise, move(x, at, next, e3), next));
        return Step{move(x, at, next, (e1 + 2 * e2 + 2 * e3 + e4) / 6), e.x0};  // PNDM Sec. 3
      });
}

}  // namespace tweedie

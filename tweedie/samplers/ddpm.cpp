// Ancestral sampling, DDPM Alg. 2. Draws noise once a step and none at the last, which ends at the
// data; by diffusers' rules one there too, with fixed_large, if that step is not from t = 0.
#include <ATen/ATen.h>

#include <cmath>

#include "tweedie/process/posterior.h"
#include "tweedie/process/reverse_variance.h"
#include "tweedie/samplers/walk.h"

namespace tweedie {
namespace {

// The standard deviation of p(x_p | x_t): a number, or a tensor where the network learned it.
Tensor step_std(const std::string& type, const Estimate& e, const Level& at, const Level& next) {
  const auto log_of = [](double v) { return at::scalar_tensor(std::log(v), at::kDouble); };
  const Tensor log_variance = log_reverse_variance(type, e, log_of(step_variance(at, next)),
                                                   log_of(posterior(at, next).variance));
  return (0.5 * log_variance).exp();
}

}  // namespace

Tensor ddpm(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options,
            Noise& noise, const StepFn& on_step) {
  const int64_t last = grid.steps() - 1;
  const bool noisy_end = options.diffusers() && options.variance_type.starts_with("fixed_large");
  return walk("ddpm", x, grid, on_step,
              [&](const Tensor& x, int64_t i, const Level& at, const Level& landing) {
                const Level next = i == last ? Level{} : landing;
                const Estimate e = denoise(x, at);
                const Posterior q = posterior(at, next);
                Tensor to = q.c0 * e.x0 + q.c1 * x;  // DDPM Eq. 7
                if (i < last || (noisy_end && at.t > 0)) {
                  const Tensor z = noise.draw().to(x.options());
                  to = to + step_std(options.variance_type, e, at, next) * z;  // DDPM Alg. 2
                }
                return Step{to, e.x0};
              });
}

}  // namespace tweedie

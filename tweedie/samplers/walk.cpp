#include "tweedie/samplers/walk.h"

#include <ATen/ATen.h>

namespace tweedie {
namespace {

// What goes wrong in a step says in which.
template <class Take>
Step named(const char* sampler, int64_t step, const Take& take) {
  try {
    return take();
  } catch (const Error& e) {
    throw Error(e.kind(), formatted("[{}] step {}: {}", sampler, step, e.what()));
  }
}

}  // namespace

Tensor walk(const char* sampler, Tensor x, const Grid& grid, const StepFn& on_step,
            const TakeStep& step) {
  const int64_t total = grid.steps();
  for (int64_t i = 0; i < total; ++i) {
    const Level at = grid.levels[i];
    const Step taken = named(sampler, i + 1, [&] { return step(x, i, at, grid.landing(i)); });
    x = taken.x;
    require_finite(x, sampler, i + 1, at);
    if (on_step) on_step(i + 1, total, x, taken.x0);
  }
  return x;
}

Evaluation evaluate(const Denoiser& denoise, const Tensor& x, const Level& at) {
  const Tensor x0 = denoise(x, at).x0;
  return {at, x0, (x - at.alpha * x0) / at.sigma};
}

Tensor transfer(const Tensor& x, const Level& at, const Level& next, const Tensor& eps) {
  const double ratio = next.alpha / at.alpha;
  return ratio * x + (next.sigma - ratio * at.sigma) * eps;  // DDIM Eq. 13
}

Step heun_step(const Denoiser& denoise, const Tensor& x, const Level& at, const Level& next) {
  const Evaluation e = evaluate(denoise, x, at);
  const Tensor ahead = next.alpha * e.x0 + next.sigma * e.eps;  // EDM Alg. 1 line 5
  if (next.sigma == 0 || at.alpha == 0) return {ahead, e.x0};
  const Tensor slope = (e.eps + evaluate(denoise, ahead, next).eps) / 2;  // EDM Alg. 1 line 8
  return {transfer(x, at, next, slope), e.x0};
}

const Path& path_of(const char* sampler, const Grid& grid) {
  if (!grid.path)
    fail("[{}] goes between the levels of its list: it needs a grid with a path (make_grid)",
         sampler);
  return grid.path;
}

int64_t order_of(const char* sampler, const SamplerOptions& options, int64_t usual, int64_t most) {
  const int64_t order = options.order.value_or(usual);
  if (order < 1 || order > most) fail("[{}] order: {} is outside 1..{}", sampler, order, most);
  return order;
}

}  // namespace tweedie

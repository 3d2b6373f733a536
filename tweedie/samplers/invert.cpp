#include "tweedie/samplers/invert.h"

#include <ATen/ATen.h>

#include "tweedie/core/beside.h"

namespace tweedie {

Tensor ddim_invert(const Denoiser& denoise, Tensor x0, const std::vector<Level>& levels,
                   const Level& at_data, const InvertOptions& options, const StepFn& on_step) {
  if (options.iterations < 0) fail("[invert] iterations: {} is below 0", options.iterations);
  if (levels.size() < 2 || levels.back().alpha == 0)
    fail("[invert] the way needs a step at least, and signal at its end");
  const int64_t total = static_cast<int64_t>(levels.size()) - 1;
  Tensor x = std::move(x0);
  for (int64_t i = 0; i < total; ++i) {
    const Level from = levels[total - i], to = levels[total - 1 - i];
    const auto step = [&](const Estimate& e) {
      // In noise alone eps is x itself, whatever x is: x_0 tells where it leads.
      if (to.alpha == 0) return to.sigma / from.sigma * (x - from.alpha * e.x0);
      return to.alpha / from.alpha * (x - from.sigma * e.eps) + to.sigma * e.eps;  // DDIM Sec. 4.3
    };
    Estimate e = denoise(x, from.sigma == 0 ? at_data : from);
    Tensor ahead = step(e);
    for (int64_t k = 0; k < options.iterations; ++k) {
      e = denoise(ahead, to);
      ahead = step(e);
    }
    x = ahead;
    require_finite(x, "invert", i + 1, to);
    if (on_step) on_step(i + 1, total, x, e.x0);
  }
  return x;
}

Tensor slerp(const Tensor& a, const Tensor& b, double c) {
  const Tensor u = a.flatten(1).to(at::kDouble), v = b.flatten(1).to(at::kDouble);
  const Tensor cosine = (u * v).sum(1) / (u.norm(2, 1) * v.norm(2, 1)).clamp_min(1e-300);
  const Tensor angle = cosine.clamp(-1, 1).acos(), sine = angle.sin();
  const Tensor parallel = sine < 1e-4;
  const Tensor safe = at::where(parallel, at::ones_like(sine), sine);
  const Tensor of_a =
      at::where(parallel, at::full_like(sine, 1 - c), ((1 - c) * angle).sin() / safe);
  const Tensor of_b = at::where(parallel, at::full_like(sine, c), (c * angle).sin() / safe);
  const auto factor = [&](const Tensor& weight) { return beside(weight.to(a.scalar_type()), a); };
  return factor(of_a) * a + factor(of_b) * b;  // DDIM Sec. 5.3
}

}  // namespace tweedie

#include "tweedie/process/mixture.h"

#include <ATen/ATen.h>

#include "tweedie/core/error.h"

namespace tweedie {

Denoiser mixture_denoiser(GaussianMixture mixture) {
  const int64_t K = static_cast<int64_t>(mixture.weights.size());
  if (K == 0 || mixture.means.size(0) != K || mixture.variances.size() != mixture.weights.size())
    fail(
        "[process] a mixture needs as many weights ({}), means ({}) and variances ({}), and one "
        "at least",
        K, mixture.means.size(0), mixture.variances.size());
  for (int64_t i = 0; i < K; ++i)
    if (!(mixture.weights[i] > 0) || !(mixture.variances[i] >= 0))
      fail(
          "[process] component {} of the mixture has weight {} and variance {}: expected > 0 and "
          ">= 0",
          i, mixture.weights[i], mixture.variances[i]);
  const Tensor log_weights = at::tensor(mixture.weights, at::kDouble).log();
  const Tensor variances = at::tensor(mixture.variances, at::kDouble);
  const Tensor means = mixture.means.flatten(1);

  return [=](const Tensor& x, const Level& at) {
    const double a = at.alpha, s = at.sigma;
    const Tensor m = means.to(x.options()), c = variances.to(x.options());  // [K,D], [K]
    const Tensor offset = x.flatten(1).unsqueeze(1) - a * m;                // [N,K,D]
    const Tensor marginal = a * a * c + s * s;                              // variance of x_t
    const int64_t D = m.size(1);
    const Tensor log_density = log_weights.to(x.options()) - 0.5 * D * marginal.log() -
                               offset.square().sum(2) / (2 * marginal);
    const Tensor share = log_density.softmax(1);  // [N,K]: which component x_t came from
    const Tensor gain = (a * c / marginal).unsqueeze(1);
    const Tensor each = m + gain * offset;                                 // Tweedie, one Gaussian
    const Tensor x0 = (share.unsqueeze(2) * each).sum(1).view(x.sizes());  // Tweedie
    return Estimate{x0, (x - a * x0) / s, {}};
  };
}

}  // namespace tweedie

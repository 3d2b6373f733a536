// A denoiser without a network: the exact E[x_0 | x_t] of data that follows a Gaussian mixture.
// What a perfect model of that data would say, to study and to test samplers with, and the density
// that its likelihoods must equal.
#pragma once
#include "tweedie/core/rng.h"
#include "tweedie/process/denoiser.h"

namespace tweedie {

/// q(x_0) = sum_i weights_i N(means_i, variances_i I). A variance of 0 is a point: with one point a
/// training image this is the ideal denoiser of a data set, the one that remembers it.
/// What takes a mixture throws Error for one whose lists differ in length or hold values that no
/// density has.
struct GaussianMixture {
  std::vector<double> weights;    ///< positive; need not add up to 1
  Tensor means;                   ///< [K, ...], the shape of an example behind K
  std::vector<double> variances;  ///< of each scalar, not negative
};

/// For x [N, ...] on any device, float32 or float64, at any level with sigma > 0.
Denoiser mixture_denoiser(GaussianMixture mixture);
/// The same with a level for each example, alpha and sigma [N] float64; differentiable in x, alpha
/// and sigma.
Estimate mixture_estimate(const GaussianMixture& mixture, const Tensor& x, const Tensor& alpha,
                          const Tensor& sigma);

/// ln q_t(x) of x_t = alpha x_0 + sigma eps at x [N, ...], in nats: [N] float64. Throws Error at
/// sigma = 0 if a component is a point, which has no density.
Tensor mixture_log_density(const GaussianMixture& mixture, const Tensor& x, const Level& at = {});
/// n examples of q(x_0), [n, ...] float64 on the CPU.
Tensor mixture_draw(const GaussianMixture& mixture, int64_t n, Rng rng);

}  // namespace tweedie

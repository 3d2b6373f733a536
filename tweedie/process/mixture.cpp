#include "tweedie/process/mixture.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/beside.h"
#include "tweedie/core/error.h"

namespace tweedie {
namespace {

struct Components {
  Tensor log_weights, variances;  // [K] float64; the weights add up to 1
  Tensor means;                   // [K,D], of the type they were given in
};

Components components_of(const GaussianMixture& mixture) {
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
  return {at::tensor(mixture.weights, at::kDouble).log().log_softmax(0),
          at::tensor(mixture.variances, at::kDouble), mixture.means.flatten(1)};
}

// x_t as each component would have made it.
struct Seen {
  Tensor offset;       // from the component's mean, [N,K,D]
  Tensor gain;         // of that offset in E[x_0 | x_t, component], [N,K]
  Tensor log_density;  // ln of weight times density, without the -D/2 ln 2 pi of all, [N,K]
};

// alpha and sigma: [N] or [1].
Seen seen(const Components& c, const Tensor& x, const Tensor& alpha, const Tensor& sigma) {
  const auto exact = x.options().dtype(at::kDouble);
  const Tensor a = alpha.to(exact).unsqueeze(1), s = sigma.to(exact).unsqueeze(1);
  const Tensor variances = c.variances.to(exact);
  const Tensor marginal = a.square() * variances + s.square();  // variance of x_t
  const Tensor shifted = a.to(x.options()).unsqueeze(2) * c.means.to(x.options());
  const Tensor offset = x.flatten(1).unsqueeze(1) - shifted;
  const double D = static_cast<double>(c.means.size(1));
  const Tensor constant = c.log_weights.to(exact) - D / 2 * marginal.log();
  const Tensor distance = offset.square().sum(2) / (2 * marginal).to(x.options());
  return {offset, (a * variances / marginal).to(x.options()), constant.to(x.options()) - distance};
}

Estimate estimate(const Components& c, const Tensor& x, const Tensor& alpha, const Tensor& sigma) {
  const Seen by = seen(c, x, alpha, sigma);
  const Tensor share = by.log_density.softmax(1);  // [N,K]: which component x_t came from
  const Tensor each = c.means.to(x.options()) + by.gain.unsqueeze(2) * by.offset;  // Tweedie, one
  const Tensor x0 = (share.unsqueeze(2) * each).sum(1).view(x.sizes());            // Tweedie
  const Tensor a = beside(alpha.to(x.options()), x), s = beside(sigma.to(x.options()), x);
  return {x0, (x - a * x0) / s, {}};
}

}  // namespace

Denoiser mixture_denoiser(GaussianMixture mixture) {
  return [c = components_of(mixture)](const Tensor& x, const Level& at) {
    return estimate(c, x, at::full({1}, at.alpha, at::kDouble),
                    at::full({1}, at.sigma, at::kDouble));
  };
}

Estimate mixture_estimate(const GaussianMixture& mixture, const Tensor& x, const Tensor& alpha,
                          const Tensor& sigma) {
  return estimate(components_of(mixture), x, alpha, sigma);
}

Tensor mixture_log_density(const GaussianMixture& mixture, const Tensor& x, const Level& at) {
  const Components c = components_of(mixture);
  if (at.sigma == 0 && c.variances.min().item<double>() == 0)
    fail("[process] a mixture with a point has no density at sigma = 0");
  const double D = static_cast<double>(c.means.size(1));
  const Seen by = seen(c, x.to(at::kDouble), at::full({1}, at.alpha, at::kDouble),
                       at::full({1}, at.sigma, at::kDouble));
  return by.log_density.logsumexp(1) - D / 2 * std::log(2 * std::numbers::pi);
}

Tensor mixture_draw(const GaussianMixture& mixture, int64_t n, Rng rng) {
  const Components c = components_of(mixture);
  const Tensor cumulative = c.log_weights.exp().cumsum(0);
  const double* until = cumulative.data_ptr<double>();
  const int64_t K = cumulative.size(0), D = c.means.size(1);
  const Tensor component = at::empty({n}, at::kLong), z = at::empty({n, D}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) {
    const double u = rng.uniform();
    int64_t k = 0;
    while (k < K - 1 && u >= until[k]) ++k;
    component.data_ptr<int64_t>()[i] = k;
    for (int64_t d = 0; d < D; ++d) z.data_ptr<double>()[i * D + d] = rng.normal();
  }
  const Tensor mean = c.means.to(at::kCPU, at::kDouble).index_select(0, component);
  const Tensor std = c.variances.sqrt().index_select(0, component).unsqueeze(1);
  std::vector<int64_t> shape = mixture.means.sizes().vec();
  shape[0] = n;
  return (mean + std * z).view(shape);
}

}  // namespace tweedie

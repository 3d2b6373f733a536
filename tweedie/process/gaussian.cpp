#include "tweedie/process/gaussian.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

namespace tweedie {

Tensor kl_divergence(const Tensor& difference, const Tensor& log_variance_p,
                     const Tensor& log_variance_q) {
  const Tensor ratio = log_variance_p - log_variance_q;
  const Tensor spread = at::expm1(ratio) - ratio;  // e^u - 1 - u loses nothing near u = 0
  return 0.5 * (spread + difference.square() * at::exp(-log_variance_q));  // DDPM Eq. 5
}

Tensor kl_divergence(const Gaussian& p, const Gaussian& q) {
  return kl_divergence(p.mean - q.mean, p.log_variance, q.log_variance);
}

Tensor entropy(const Gaussian& g) {
  const double unit = 0.5 * std::log(2 * std::numbers::pi * std::numbers::e);
  return 0.5 * g.log_variance + unit + at::zeros_like(g.mean);
}

Tensor log_density(const Gaussian& g, const Tensor& x) {
  const Tensor square = (x - g.mean).square() * at::exp(-g.log_variance);
  return -0.5 * (square + g.log_variance + std::log(2 * std::numbers::pi));
}

Tensor draw(const Gaussian& g, const Tensor& z) {
  return g.mean + at::exp(0.5 * g.log_variance) * z;
}

Gaussian posterior(const Gaussian& prior, const Tensor& y, double gain, double variance) {
  const Tensor before = at::exp(-prior.log_variance);  // precisions add up
  const Tensor after = before + gain * gain / variance;
  return {(before * prior.mean + gain / variance * y) / after, -after.log()};
}

Tensor bits_per_dim(const Tensor& nats) { return nats.flatten(1).mean(1) / kNatsPerBit; }

}  // namespace tweedie

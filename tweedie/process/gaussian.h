// Gaussians with a variance for each scalar: what the variational bound and autoencoders share.
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// N(mean, e^log_variance), every scalar on its own. The two broadcast against each other.
struct Gaussian {
  Tensor mean, log_variance;
};

/// KL(p || q) of each scalar, in nats; 0 where they are the same, never below.
Tensor kl_divergence(const Gaussian& p, const Gaussian& q);
/// KL(p || q) for means that differ by `difference`.
Tensor kl_divergence(const Tensor& difference, const Tensor& log_variance_p,
                     const Tensor& log_variance_q);
/// The differential entropy of each scalar, in nats.
Tensor entropy(const Gaussian& g);
/// ln N(x; mean, variance) of each scalar, in nats.
Tensor log_density(const Gaussian& g, const Tensor& x);
/// mean + std z, differentiable in both: the reparameterised draw. z is standard normal.
Tensor draw(const Gaussian& g, const Tensor& z);

/// What x is once y is seen, by Bayes' rule: x follows `prior`, y = gain x + noise of that
/// variance.
Gaussian posterior(const Gaussian& prior, const Tensor& y, double gain, double variance);

/// ln 2: nats divided by it are bits.
inline constexpr double kNatsPerBit = 0.693147180559945309417;

/// The mean over all but the first dimension, in bits: [N] bits/dim from nats of each scalar.
Tensor bits_per_dim(const Tensor& nats);

}  // namespace tweedie

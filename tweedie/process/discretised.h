// How likely a Gaussian makes an 8-bit level: the decoder of the variational bound, DDPM Eq. 13.
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// How the normal distribution function is computed.
enum class Cdf {
  kExact,
  kTanh  ///< OpenAI's: a tanh off by up to 1.8e-4, probabilities not below 1e-12
};

/// ln P(level of x0) of each scalar, in nats: the mass of N(mean, e^(2 log_std)) on the bin of
/// width 2/255 around x0, the outer bins open to infinity. x0 holds levels p/127.5 - 1; mean and
/// log_std broadcast against it. float64 inputs give about 12 digits also where the mass is 1e-300.
/// Differentiable in mean and log_std.
Tensor discretised_log_likelihood(const Tensor& x0, const Tensor& mean, const Tensor& log_std,
                                  Cdf cdf = Cdf::kExact);

}  // namespace tweedie

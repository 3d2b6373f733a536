// A denoiser without a network: the exact E[x_0 | x_t] of data that follows a Gaussian mixture.
// What a perfect model of that data would say, to study and to test samplers with.
#pragma once
#include "tweedie/process/denoiser.h"

namespace tweedie {

/// q(x_0) = sum_i weights_i N(means_i, variances_i I). A variance of 0 is a point: with one point a
/// training image this is the ideal denoiser of a data set, the one that remembers it.
struct GaussianMixture {
  std::vector<double> weights;    ///< positive; need not add up to 1
  Tensor means;                   ///< [K, ...], the shape of an example behind K
  std::vector<double> variances;  ///< of each scalar, not negative
};

/// For x [N, ...] on any device, float32 or float64, at any level with sigma > 0.
/// Throws Error for a mixture whose lists differ in length or hold values that no density has.
Denoiser mixture_denoiser(GaussianMixture mixture);

}  // namespace tweedie

#include "tweedie/process/discretised.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace tweedie {
namespace {

constexpr double kHalfBin = 1.0 / 255;

Tensor tanh_cdf(const Tensor& u) {
  return 0.5 * (1 + at::tanh(std::sqrt(2 / std::numbers::pi) * (u + 0.044715 * u.pow(3))));
}

Tensor tanh_log_likelihood(const Tensor& x0, const Tensor& mean, const Tensor& log_std) {
  const Tensor inverse = at::exp(-log_std), offset = x0 - mean;
  const Tensor upper = tanh_cdf(inverse * (offset + kHalfBin));
  const Tensor lower = tanh_cdf(inverse * (offset - kHalfBin));
  const auto log = [](const Tensor& p) { return p.clamp_min(1e-12).log(); };
  return at::where(x0 < -0.999, log(upper),
                   at::where(x0 > 0.999, log(1 - lower), log(upper - lower)));
}

}  // namespace

Tensor discretised_log_likelihood(const Tensor& x0, const Tensor& mean, const Tensor& log_std,
                                  Cdf cdf) {
  if (cdf == Cdf::kTanh) return tanh_log_likelihood(x0, mean, log_std);
  const Tensor level = ((x0 + 1) * 127.5).round();
  const Tensor inverse = at::exp(-log_std), offset = x0 - mean;
  const Tensor upper = inverse * (offset + kHalfBin), lower = inverse * (offset - kHalfBin);
  // Phi(u) - Phi(l) = Phi(-l) - Phi(-u): of the two the one that lies in the lower tail.
  const Tensor mirrored = offset > 0;
  const Tensor more = at::special_log_ndtr(at::where(mirrored, -lower, upper));
  const Tensor less = at::special_log_ndtr(at::where(mirrored, -upper, lower));
  const Tensor inside = more + at::log(-at::expm1(less - more));  // DDPM Eq. 13
  return at::where(level == 0, at::special_log_ndtr(upper),       // DDPM Eq. 13
                   at::where(level == 255, at::special_log_ndtr(-lower), inside));
}

}  // namespace tweedie

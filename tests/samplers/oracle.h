// What the solver tests share: a run in float64, and the exact solution of the probability-flow ODE
// by fine Runge-Kutta steps, d xh / d ln r = r eps (EDM Eq. 4), which no sampler takes.
#pragma once
#include <ATen/ATen.h>

#include <cmath>

#include "tweedie/process/mixture.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {

/// A sampler without noise.
inline Tensor solve(const char* name, const Denoiser& denoise, const Tensor& x, const Grid& grid,
                    const SamplerOptions& options = {}) {
  ReplayedNoise none({}, {});
  return find_sampler(name).run(denoise, x, grid, options, none, {});
}

inline Tensor implied_eps(const Denoiser& denoise, const Tensor& x, const Level& at) {
  return (x - at.alpha * denoise(x, at).x0) / at.sigma;
}

/// From one level to another of a path, in `steps` classical Runge-Kutta steps of ln r.
inline Tensor exact_way(const Denoiser& denoise, const Tensor& x, const Level& from,
                        const Level& to, const Path& path, int64_t steps) {
  const auto slope = [&](const Tensor& xh, double u) {
    const Level at = path.at_ratio(std::exp(u));
    return std::exp(u) * implied_eps(denoise, at.alpha * xh, at);
  };
  double u = std::log(noise_ratio(from));
  const double h = (std::log(noise_ratio(to)) - u) / static_cast<double>(steps);
  Tensor xh = x / from.alpha;
  for (int64_t i = 0; i < steps; ++i, u += h) {
    const Tensor k1 = slope(xh, u), k2 = slope(xh + h / 2 * k1, u + h / 2);
    const Tensor k3 = slope(xh + h / 2 * k2, u + h / 2), k4 = slope(xh + h * k3, u + h);
    xh = xh + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4);
  }
  return to.alpha * xh;
}

/// Two Gaussians in the plane, float64.
inline Denoiser plane_mixture() {
  return mixture_denoiser({{0.3, 0.7},
                           at::tensor({-0.6, 0.2, 0.5, -0.1}, at::kDouble).view({2, 1, 1, 2}),
                           {0.16, 0.25}});
}

inline Tensor plane_points() {
  return at::tensor({0.4, -1.1, -0.7, 0.2, 1.5, 0.9}, at::kDouble).view({3, 1, 1, 2});
}

}  // namespace tweedie

// The likelihood that a model gives to data, by the probability-flow ODE: it carries x to noise
// without chance, and what it does to volumes turns the noise's density into that of x.
//
//   const OdeLikelihood p = ode_log_density(denoise, dequantise(x0, seed), process.levels(60));
//   const Tensor bits = density_bits_per_dim(p.log_density, x0[0].numel(), kPixelWidth);
//
// Papers: SDE arXiv 2011.13456, FFJORD 1810.01367, FPP (flow++) 1902.00275, PD 2202.00512, HNW
// (Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I).
#pragma once
#include <functional>

#include "tweedie/core/options.h"
#include "tweedie/process/denoiser.h"

namespace tweedie {

struct OdeLikelihoodOptions {
  std::string method = "rk4", divergence = "hutchinson", probe = "rademacher";
  int64_t probes = 1;
  int64_t seed = 0;
  int64_t first = 0;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("method", self.method,
          "rk4: order 4, 4 calls for 3 levels; heun: order 2, 2 calls a level",
          one_of({"rk4", "heun"}));
    field("divergence", self.divergence,
          "exact: a backward pass for each scalar of an example; hutchinson: one for each probe",
          one_of({"exact", "hutchinson"}));
    field("probe", self.probe, "hutchinson: what the probes are drawn from",
          one_of({"rademacher", "gaussian"}));
    field("probes", self.probes, "hutchinson: probes an example, kept along its way",
          between(1, 1 << 20));
    field("seed", self.seed, "hutchinson: of the probes", at_least(0));
    field("first", self.first, "number of the first example: its probes are its own, by (seed, i)",
          at_least(0));
  }
};

struct OdeLikelihood {
  Tensor log_density;     ///< [N] float64, nats: ln p(x)
  Tensor standard_error;  ///< [N] over the probes; 0 if exact, NaN for one probe
  int64_t calls = 0;      ///< of the denoiser, each with its backward passes
  Level at;               ///< the level whose density it is
};

/// ln p(xh) at the least noisy of `levels` with sigma > 0, of xh = x_t / alpha, the scale of the
/// data. x [N, ...], on the denoiser's device and of its type, is taken for that xh: at a sigma
/// well below the data's detail this is the density of the data. `levels` are a sampler's, noisiest
/// first; a last one at sigma 0 is left out. The ODE follows eps alone, so a clipped x0 changes
/// nothing. At the noisy end xh alpha / sqrt(alpha^2 + sigma^2) is taken for standard normal:
/// there too sigma / alpha must be well above the data. The denoiser is called with autograd on,
/// from outside inference mode, and must treat examples apart; state and sums are in float64. An
/// example's result does not depend on the others. `on_step(done, of)`, after each step, may throw.
/// Throws Error for options out of range, levels that do not fall, leave no signal, are fewer than
/// 3 (heun: 2) or too uneven for rk4, a denoiser that autograd cannot follow, and non-finite
/// values.
OdeLikelihood ode_log_density(const Denoiser& denoise, const Tensor& x,
                              const std::vector<Level>& levels,
                              const OdeLikelihoodOptions& options = {},
                              const std::function<void(int64_t, int64_t)>& on_step = {});

/// The width of a level of 8-bit pixels in [-1,1]: x = p / 127.5 - 1.
inline constexpr double kPixelWidth = 1 / 127.5;

/// Discrete levels spread over their bins: x0 + (u - 1/2) kPixelWidth, u uniform in [0,1), float32,
/// of the shape of x0 [N, ...] in [-1,1]; example i's u is a function of (seed, first + i). The
/// density's bits/dim are then, in the mean over u, an upper bound on those of the discrete pixels
/// (FPP Sec. 3.1), not their exact value.
Tensor dequantise(const Tensor& x0, uint64_t seed, int64_t first = 0);

/// Bits/dim from ln p in nats of a density over D scalars that stands for levels of width d:
/// -log2 p / D - log2 d. d = 1 is a density as it is.
Tensor density_bits_per_dim(const Tensor& log_density, int64_t D, double d = 1);

}  // namespace tweedie

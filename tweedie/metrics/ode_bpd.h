// Bits/dim of discrete images by the probability-flow ODE, from a density of what they become when
// noise fills the gaps between their levels.
#pragma once
#include "tweedie/core/progress.h"
#include "tweedie/data/loader.h"
#include "tweedie/metrics/ode_likelihood.h"
#include "tweedie/process/bound.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// How levels become values with a density: see OdeBpdOptions.
inline std::vector<std::string> dequantisations() {
  return {"auto", "variational", "uniform", "none"};
}

struct OdeBpdOptions {
  int64_t images = 0;  ///< the first so many; 0 is all
  int64_t steps = 60;  ///< of the ODE, uniform in log-SNR over the process's levels
  /// variational: to x_1, as the process noises; a decoder has to find the levels again, and the
  /// result bounds the bits/dim from above (VDM Eq. 8 with the ODE as its prior). uniform: over the
  /// level's bin (FPP Sec. 3.1), and the density of x_1 stands for that of the data. none: so it
  /// does for points, which have a density as they are. auto: variational for images, none for
  /// points.
  std::string dequantisation = "auto";
  uint64_t seed = 0;
  OdeLikelihoodOptions ode = {};
};

struct OdeBpd {
  double total = 0;         ///< bits/dim
  double image_stderr = 0;  ///< of `total` over images; drawn noise and probes included
  double density = 0;       ///< of that: of the dequantised images
  double decoder = 0;       ///< variational: log2 q - log2 P(x_0|x_1); uniform: the bins; none: 0
  std::string dequantisation;     ///< never auto
  double sigma = 0;               ///< sigma/alpha of the level whose density it is
  int64_t images = 0, calls = 0;  ///< calls of the network an image
};

/// On every image of `dataset`, 8 bits a scalar, the network told its labels. `bound` is that of
/// all of the process's steps: its first term is the decoder. Image i's noise and probes are
/// functions of (seed, i). Throws Error: user for options out of range, interrupted by `cancel`.
OdeBpd ode_bpd(const LabelledNetwork& network, const Process& process,
               const VariationalBound& bound, DatasetPtr dataset, LoaderOptions loader,
               at::Device device, const OdeBpdOptions& options, const ProgressFn& progress = {},
               const CancelToken& cancel = {});

}  // namespace tweedie

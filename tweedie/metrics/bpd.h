// Bits/dim by the variational bound: how well a model compresses images it has never seen.
#pragma once
#include <vector>

#include "tweedie/core/progress.h"
#include "tweedie/data/loader.h"
#include "tweedie/process/bound.h"
#include "tweedie/process/process.h"

namespace tweedie {

struct BpdOptions {
  int64_t images = 0;        ///< the first so many; 0 is all
  int64_t t_per_image = 8;   ///< steps of the chain drawn for each image, even
  bool exact = false;        ///< every step of the chain, once, with fresh noise
  bool monte_carlo = false;  ///< the KL terms by one draw each as well, to compare
  uint64_t seed = 0;
};

/// All in bits/dim. Step k = 0..N-1 of the chain is the papers' t = k + 1.
struct Bpd {
  double total = 0;         ///< L_T and all terms: the bound, a mean over images
  double image_stderr = 0;  ///< standard error of `total` over images, the estimator's included
  /// Of that, the part of the drawn t and noise; NaN if exact, where one draw of noise a step tells
  /// nothing of it.
  double estimator_stderr = 0;
  double prior = 0;            ///< L_T
  double decoder = 0;          ///< L_0, which is vlb[0]
  std::vector<double> vlb;     ///< the mean term of each step; NaN where none was drawn
  std::vector<int64_t> draws;  ///< behind each of them
  int64_t images = 0, t_per_image = 0;
  double monte_carlo_total = 0;
  /// Variance of the KL term by one draw over that of the closed form, by step; NaN for fewer than
  /// two draws and for k = 0. Empty unless asked for.
  std::vector<double> variance_ratio;
};

/// The bound of `process` along `bound`'s chain, whose step k is entry indices[k] of the process's
/// table, on every image of `dataset`, whose labels the network is told. Not exact: t_per_image
/// steps an image, drawn systematically (two combs, whose difference tells the estimator's error)
/// from a distribution that a few images suggest; unbiased. Image i's steps and noise are
/// functions of (seed, i). `loader` sets size, channels, batch size and workers. Throws Error: user
/// for options out of range, interrupted by `cancel`.
Bpd variational_bpd(const LabelledNetwork& network, const Process& process,
                    const VariationalBound& bound, const std::vector<int64_t>& indices,
                    DatasetPtr dataset, LoaderOptions loader, at::Device device,
                    const BpdOptions& options, const ProgressFn& progress = {},
                    const CancelToken& cancel = {});

}  // namespace tweedie

// What chance decides in a training step.
#pragma once
#include "tweedie/core/rng.h"
#include "tweedie/data/loader.h"
#include "tweedie/losses/t_sampler.h"

namespace tweedie {

/// All on the CPU.
struct Draws {
  Tensor t;       ///< [N] int64
  Tensor weight;  ///< [N] float32, of each example's loss
  Tensor labels;  ///< [N] int64; some replaced by the null class (CFG Alg. 1); undefined without
                  ///< labels
  Tensor eps;     ///< [N,C,H,W] standard normal
};

/// For one batch. `label_dropout` is the probability that a label becomes `null_class`. Labels
/// below 0 (a dataset without classes) give undefined labels.
Draws draw(const Batch& batch, const TimestepSampler& sampler, double label_dropout,
           int64_t null_class, Rng rng);
/// The same at timesteps t [N] that are given, each of weight 1.
Draws draw(const Batch& batch, Tensor t, double label_dropout, int64_t null_class, Rng rng);

}  // namespace tweedie

// What a training step asks of the network, and how far off the answer is.
#pragma once
#include <functional>
#include <memory>

#include "tweedie/core/rng.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/losses/objective.h"
#include "tweedie/process/bound.h"
#include "tweedie/process/denoiser.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// Draws t and noise for a batch, runs the network forward and backward, and remembers what the
/// objective has to remember from step to step.
class StepLoss {
 public:
  virtual ~StepLoss() = default;

  /// The mean loss over the batch, detached; `share` of its gradient is added to the network's.
  /// `network` gives float32 [N,C,H,W], or 2C; null_class replaces labels.
  virtual Tensor backward(const LabelledNetwork& network, const Batch& batch, int64_t null_class,
                          double share, Rng rng) = 0;
  /// After the last backward() of a step. `progress`: the network's learning rate over its largest.
  virtual void end_step(double progress) { (void)progress; }
  /// The process that the network is trained for, as it stands.
  virtual Process process() const = 0;
  /// Empty if there is nothing to remember.
  virtual TensorMap state() const { return {}; }
  /// False if `state` is none of this kind. Throws Error naming `source` for another size.
  virtual bool load(const TensorMap& state, const std::string& source) = 0;
};

/// For process.beta_schedule learned: of the network and of the schedule together. `decoder`: what
/// the data are. Throws Error (user) where options do not fit each other.
std::unique_ptr<StepLoss> make_step_loss(const ObjectiveOptions& objective, const Process& process,
                                         at::Device device, Decoder decoder,
                                         double schedule_learning_rate, uint64_t seed);

/// The process with which a training of these options begins: for beta_schedule learned the
/// schedule before its first step, between the ends that beta_start and beta_end give.
ProcessOptions first_process(ProcessOptions options);

}  // namespace tweedie

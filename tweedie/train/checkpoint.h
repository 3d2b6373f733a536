// RUN/checkpoints/step_N/: all that an exact resume needs, whole or not there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "tweedie/core/progress.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/nn/network_plan.h"
#include "tweedie/train/heldout.h"

namespace tweedie {

/// Where a training stands. Noise, t, dropout, order and augmentation are functions of `step` and
/// `images`, so no generator state is stored.
struct TrainState {
  int64_t step = 0;    ///< optimiser steps done
  int64_t images = 0;  ///< images seen, with repetition
  double seconds = 0;  ///< of training, over all resumes
  std::string precision;
  std::optional<NetworkPlan> plan;        ///< of the convolutions on a CPU
  double loss_sum = 0, norm_sum = 0;      ///< over the steps since the last line of the log
  int64_t window = 0;                     ///< how many steps these are
  std::optional<Heldout> heldout;         ///< the newest
  Json model, process, objective, train;  ///< the options it was trained with
  Json data;                              ///< what it was trained on, and how that was cut
  int64_t threads = 0;                    ///< of a CPU: another number rounds otherwise

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("step", self.step, "optimiser steps done");
    field("images", self.images, "images seen");
    field("seconds", self.seconds, "of training, over all resumes");
    field("precision", self.precision, "fp32 or bf16");
    field("plan", self.plan, "how the 3x3 convolutions are computed");
    field("loss_sum", self.loss_sum, "since the last line of the log");
    field("norm_sum", self.norm_sum, "since the last line of the log");
    field("window", self.window, "steps since the last line of the log");
    field("heldout", self.heldout, "the newest held-out loss");
    field("model", self.model, "the network's options");
    field("process", self.process, "the process's options");
    field("objective", self.objective, "the objective's options");
    field("train", self.train, "the training's options");
    field("data", self.data, "the images");
    field("threads", self.threads, "threads of the arithmetic");
  }
};

struct Checkpoint {
  TrainState state;     // state.json
  TensorMap weights;    // weights.safetensors: the raw ones
  TensorMap ema;        // ema.safetensors: the running mean, the model
  TensorMap optimizer;  // optimizer.safetensors: exp_avg.NAME, exp_avg_sq.NAME
  TensorMap loss;       // loss.safetensors, if it remembers: losses by t, or the learned schedule
};

/// Writes RUN/checkpoints/step_N, then removes all but the `keep` newest. A failure or a kill at
/// any moment leaves the ones before whole. Returns the folder. Throws Error (system) naming the
/// file.
std::filesystem::path save_checkpoint(const std::filesystem::path& run,
                                      const Checkpoint& checkpoint, int64_t keep);

/// The newest checkpoint of RUN that can be read; a damaged one is passed over with a notice that
/// says why. Throws Error (user) if there is none.
Checkpoint load_newest_checkpoint(const std::filesystem::path& run, const NoticeFn& notice);

/// The newest checkpoint's folder by its name, unread; empty if there is none.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run);

}  // namespace tweedie

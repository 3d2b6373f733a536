// How long, how fast and how often: everything a training run is told beside data, model and
// process.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "tweedie/core/options.h"

namespace tweedie {

struct TrainOptions {
  // The budget: exactly one of three. On resume it is the new total.
  std::optional<int64_t> steps, images;
  std::optional<double> minutes;

  int64_t batch_size = 128, accumulate = 1;
  double learning_rate = 2e-4;
  double schedule_learning_rate = 3e-3;
  std::string lr_schedule = "constant";
  int64_t warmup_steps = 500;
  double weight_decay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double grad_clip = 1;
  double ema_decay = 0.9999;
  bool ema_warmup = true;
  int64_t checkpoint_every = 1000, keep_checkpoints = 2;
  int64_t preview_every = 1000;
  int64_t eval_every = 1000, eval_images = 1000;
  int64_t log_every = 10;
  int64_t seed = 0;
  std::string precision = "fp32";
  int64_t workers = 2;

  /// Images that one optimiser step sees.
  int64_t images_per_step() const { return batch_size * accumulate; }

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("steps", self.steps, "budget in optimiser steps (one of steps, images, minutes)",
          at_least(1));
    field("images", self.images, "budget in images seen, rounded up to whole steps", at_least(1));
    field("minutes", self.minutes, "budget in minutes of training over all resumes",
          at_least(1e-3));
    field("batch_size", self.batch_size, "images a forward pass", between(1, 1 << 20));
    field("accumulate", self.accumulate, "batches whose mean gradient makes one optimiser step",
          between(1, 1 << 20));
    field("learning_rate", self.learning_rate, "AdamW's rate after the warm-up", at_least(0));
    field("schedule_learning_rate", self.schedule_learning_rate,
          "beta_schedule learned: Adam's rate for the schedule, which falls with the other",
          at_least(0));
    field("lr_schedule", self.lr_schedule, "rate after the warm-up; cosine falls to 0 at the end",
          one_of({"constant", "cosine"}));
    field("warmup_steps", self.warmup_steps, "steps over which the rate rises linearly",
          at_least(0));
    field("weight_decay", self.weight_decay, "AdamW's decoupled decay", at_least(0));
    field("beta1", self.beta1, "AdamW: decay of the gradient's mean", between(0, 0.999999));
    field("beta2", self.beta2, "AdamW: decay of the squared gradient's mean",
          between(0, 0.99999999));
    field("epsilon", self.epsilon, "AdamW: added to the denominator", between(1e-30, 1));
    field("grad_clip", self.grad_clip, "largest norm of the whole gradient; 0 = no clipping",
          at_least(0));
    field("ema_decay", self.ema_decay, "decay of the weights' running mean, the model to keep",
          between(0, 1));
    field("ema_warmup", self.ema_warmup, "decay (1 + t)/(10 + t) while that is smaller");
    field("checkpoint_every", self.checkpoint_every, "steps between checkpoints", at_least(1));
    field("keep_checkpoints", self.keep_checkpoints, "newest checkpoints that are kept",
          at_least(1));
    field("preview_every", self.preview_every, "steps between preview grids; 0 = none",
          at_least(0));
    field("eval_every", self.eval_every, "steps between held-out losses; 0 = none", at_least(0));
    field("eval_images", self.eval_images, "held-out images, spread over the split",
          between(4, 1e9));
    field("log_every", self.log_every, "steps a line of log.jsonl", at_least(1));
    field("seed", self.seed, "of weights, order, augmentation, noise and dropout", at_least(0));
    field("precision", self.precision,
          "of the network's arithmetic; auto measures both; weights are always fp32",
          one_of({"fp32", "bf16", "auto"}));
    field("workers", self.workers, "threads that load images", between(1, 256));
  }
};

/// Throws Error (user) unless exactly one budget is given and the rate's schedule can work with it.
void validate(const TrainOptions& options);

/// Optimiser steps in all, for a training that stands at `step` after `images` (which may have gone
/// there with another batch size); empty when the budget is in minutes.
std::optional<int64_t> total_steps(const TrainOptions& options, int64_t step = 0,
                                   int64_t images = 0);

}  // namespace tweedie

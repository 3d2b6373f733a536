// The loss on images that the training never sees, by how noisy they were made.
#pragma once
#include <ATen/core/Tensor.h>

#include "tweedie/core/options.h"
#include "tweedie/data/loader.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// Mean of simple_loss; q1 over the quarter of t with the least noise, q4 over that with the most;
/// `all` is the mean of the four.
struct Heldout {
  double all = 0, q1 = 0, q2 = 0, q3 = 0, q4 = 0;
  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("all", self.all, "over all t");
    field("q1", self.q1, "over the first quarter of t, the least noise");
    field("q2", self.q2, "over the second quarter of t");
    field("q3", self.q3, "over the third quarter of t");
    field("q4", self.q4, "over the last quarter of t");
  }
};

/// The loss over `count` images spread evenly over `dataset` (all if there are fewer, four times
/// if there is one: every quarter of t has an image). Image i gets its noise and its t (quarter
/// i mod 4) from (seed, i) alone, so that networks, runs and batch sizes compare. `options` sets
/// size, channels, batch size and workers. `device` is the network's.
Heldout heldout_loss(const LabelledNetwork& network, const Process& process, DatasetPtr dataset,
                     int64_t count, LoaderOptions options, at::Device device, uint64_t seed = 0);

}  // namespace tweedie

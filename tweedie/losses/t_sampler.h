// Which t a training step draws, and what an example then counts for.
#pragma once
#include <ATen/core/Tensor.h>

#include "tweedie/core/rng.h"
#include "tweedie/losses/objective.h"
#include "tweedie/process/schedule.h"

namespace tweedie {

/// Draws t in 0..T-1 by `t_sampler`. Only loss_second_moment has a state: the last ten losses of
/// every t.
class TimestepSampler {
 public:
  /// Throws Error (user) for options that do not fit each other or the schedule.
  TimestepSampler(const ObjectiveOptions& options, const Schedule& schedule);

  struct Drawn {
    int64_t t;
    double weight;  ///< of the loss, so that its mean stays that over uniform t; else 1
  };
  /// For example i of n of a batch.
  Drawn draw(int64_t i, int64_t n, Rng& rng) const;
  /// After a step: t [N] int64 and the losses [N], unweighted, on any device.
  void update(const Tensor& t, const Tensor& losses);

  /// loss_second_moment: history [T,10] float64, the oldest first, and counts [T] int64.
  bool has_state() const { return history_.defined(); }
  const Tensor& history() const { return history_; }
  const Tensor& counts() const { return counts_; }
  /// Throws Error (user) for a state of another T.
  void load(const Tensor& history, const Tensor& counts);

 private:
  void weigh();

  std::string name_;
  double mean_, std_;
  int64_t T_;
  std::vector<double> log_ratio_;  // ln(sigma/alpha) by t, rising
  Tensor history_, counts_;
  std::vector<double> cumulative_, probability_;  // empty until every t has its ten
};

}  // namespace tweedie

// A network and its noise schedule, trained together (VDM arXiv 2107.00630).
#pragma once
#include "tweedie/train/learned_schedule.h"
#include "tweedie/train/step_loss.h"

namespace tweedie {

/// Each step draws its own levels, stratified over the schedule as it stands; the schedule follows
/// by the gradient that the network's backward pass leaves at x_t, which costs no pass of its own.
class LearnedScheduleLoss : public StepLoss {
 public:
  /// Throws Error (user) where options do not fit: it trains eps of a vp process with a fixed
  /// variance, by simple or vlb.
  LearnedScheduleLoss(const ObjectiveOptions& objective, const Process& process, at::Device device,
                      Decoder decoder, double learning_rate, uint64_t seed);

  /// simple: the mean squared error of eps. vlb: T times the bound's term in bits/dim, with
  /// N(x_0; E[x_0|x_1], (sigma_1/alpha_1)^2) as the decoder.
  Tensor backward(const LabelledNetwork& network, const Batch& batch, int64_t null_class,
                  double share, Rng rng) override;
  void end_step(double progress) override;
  /// Its options hold the schedule as trained_betas.
  Process process() const override;
  TensorMap state() const override { return schedule_.state(); }
  bool load(const TensorMap& state, const std::string& source) override;

 private:
  ObjectiveOptions objective_;
  ProcessOptions process_;
  LearnedSchedule schedule_;
  at::Device device_;
  double learning_rate_;
  std::vector<ScheduleTerms> terms_;  // of the batches of this step
};

}  // namespace tweedie

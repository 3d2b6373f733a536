#include "tweedie/train/learned_schedule_loss.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/beside.h"
#include "tweedie/train/draws.h"

namespace tweedie {
namespace {

LearnedScheduleOptions options_of(ProcessOptions process, uint64_t seed, double level_width) {
  process.beta_schedule = "linear", process.trained_betas.reset();
  const Schedule linear = make_schedule(process);
  return {.num_train_timesteps = linear.size(),
          .g0 = -std::log(linear.snr(0)),
          .g1 = -std::log(linear.snr(linear.size() - 1)),
          .seed = static_cast<int64_t>(seed),
          .level_width = level_width};
}

// [N] on the CPU, of what an example's scalars add up to.
Tensor summed(const Tensor& x) { return x.flatten(1).sum(1).to(at::kCPU, at::kDouble); }

void check(const ObjectiveOptions& objective, const ProcessOptions& process) {
  const auto refuse = [](const char* name, const std::string& value, const char* known) {
    fail("[train] {} {} does not go with process.beta_schedule learned: use {}", name, value,
         known);
  };
  if (process.path != "vp") refuse("process.path", process.path, "vp");
  if (process.prediction_type != "epsilon")
    refuse("process.prediction_type", process.prediction_type, "epsilon");
  if (process.variance_type.starts_with("learned"))
    refuse("process.variance_type", process.variance_type, "fixed_small");
  if (process.rescale_betas_zero_snr) refuse("process.rescale_betas_zero_snr", "true", "false");
  if (objective.loss == "hybrid") refuse("objective.loss", objective.loss, "simple or vlb");
  if (objective.weighting != "none") refuse("objective.weighting", objective.weighting, "none");
  if (objective.distance != "l2") refuse("objective.distance", objective.distance, "l2");
  if (objective.t_sampler != "uniform" && objective.t_sampler != "stratified")
    refuse("objective.t_sampler", objective.t_sampler, "stratified, which it always is");
}

}  // namespace

ProcessOptions first_process(ProcessOptions options) {
  if (options.beta_schedule != "learned" || options.trained_betas) return options;
  options.trained_betas = LearnedSchedule(options_of(options, 0, 0)).trained_betas();
  return options;
}

LearnedScheduleLoss::LearnedScheduleLoss(const ObjectiveOptions& objective, const Process& process,
                                         at::Device device, Decoder decoder, double learning_rate,
                                         uint64_t seed)
    : objective_(objective),
      process_((check(objective, process.options()), process.options())),
      schedule_(options_of(process_, seed, decoder == Decoder::kContinuous ? 0 : 1 / 127.5)),
      device_(device),
      learning_rate_(learning_rate) {}

Tensor LearnedScheduleLoss::backward(const LabelledNetwork& network, const Batch& batch,
                                     int64_t null_class, double share, Rng rng) {
  const ScheduleDraw at = schedule_.draw(batch.size(), rng.uniform());
  const Draws draws = draw(batch, at.step - 1, objective_.label_dropout, null_class, rng);
  const Tensor x0 = batch.images.to(device_), eps = draws.eps.to(device_);
  const Tensor a = at.alpha.detach().to(x0.options()), s = at.sigma.detach().to(x0.options());
  const Tensor x_t = (beside(a, x0) * x0 + beside(s, x0) * eps).requires_grad_(true);  // DDPM Eq. 4
  const Tensor output = network(x_t, draws.t.to(device_), draws.labels);
  const Tensor errors = (eps - output).square().flatten(1).sum(1);

  const double D = static_cast<double>(x0[0].numel()), T = static_cast<double>(schedule_.size());
  Tensor weight = at::full({batch.size()}, 1 / D, at::kDouble);  // DDPM Eq. 14
  if (objective_.loss == "vlb")  // VDM Sec. 4; at step 1 the decoder's |x_0 - X|^2 / (2 r_1^2)
    weight = at::where(at.step == 1, T / 2, at.weight.detach()) / (D * std::numbers::ln2);
  const Tensor mean = (weight.to(errors.options()) * errors).mean();
  (share * mean).backward();

  // Example j's x_t is in no other's error: what arrived there is weight_j share/n d error_j/dx_t.
  const Tensor counts = (weight * (share / double(batch.size()))).to(x_t.options());
  const Tensor slope = x_t.grad() / beside(counts, x_t);
  const Tensor squared_error = errors.detach().to(at::kCPU, at::kDouble) +
                               (at.alpha - at.alpha.detach()) * summed(slope * x0) +
                               (at.sigma - at.sigma.detach()) * summed(slope * eps);
  terms_.push_back(schedule_.terms(at, batch.images, squared_error));
  return mean.detach();
}

void LearnedScheduleLoss::end_step(double progress) {
  std::vector<Tensor> prior, decoder, diffusion;
  for (const ScheduleTerms& terms : terms_) {
    prior.push_back(terms.prior), decoder.push_back(terms.decoder);
    diffusion.push_back(terms.diffusion);
  }
  terms_.clear();
  schedule_.step({at::cat(prior), at::cat(decoder), at::cat(diffusion)}, progress * learning_rate_);
}

bool LearnedScheduleLoss::load(const TensorMap& state, const std::string& source) {
  if (!state.count("g0")) return false;
  schedule_.load(state, source);
  return true;
}

Process LearnedScheduleLoss::process() const {
  ProcessOptions options = process_;
  options.trained_betas = schedule_.trained_betas();
  return Process(options);
}

}  // namespace tweedie

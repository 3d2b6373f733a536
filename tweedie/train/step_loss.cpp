#include "tweedie/train/step_loss.h"

#include <ATen/ATen.h>

#include "tweedie/losses/loss.h"
#include "tweedie/train/draws.h"
#include "tweedie/train/learned_schedule_loss.h"

namespace tweedie {
namespace {

// DDPM Alg. 1 along a schedule that stays as it is.
class TableLoss : public StepLoss {
 public:
  TableLoss(const ObjectiveOptions& objective, const Process& process, at::Device device,
            Decoder decoder)
      : objective_(objective),
        process_(process),
        loss_(objective, process, decoder),
        t_sampler_(objective, process.schedule()),
        device_(device) {}

  Tensor backward(const LabelledNetwork& network, const Batch& batch, int64_t null_class,
                  double share, Rng rng) override {
    const Draws draws = draw(batch, t_sampler_, objective_.label_dropout, null_class, rng);
    const Tensor x0 = batch.images.to(device_), eps = draws.eps.to(device_),
                 t = draws.t.to(device_);
    const Tensor x_t = process_.add_noise(x0, eps, t);  // DDPM Eq. 4
    const Tensor output = network(process_.network_input(x_t, t), process_.told(t), draws.labels);
    const Tensor losses = loss_(output, {x0, eps, x_t, t});
    const Tensor mean = (losses * draws.weight.to(device_)).mean();
    (share * mean).backward();
    t_sampler_.update(draws.t, losses);
    return mean.detach();
  }

  Process process() const override { return process_; }

  TensorMap state() const override {
    if (!t_sampler_.has_state()) return {};
    return {{"history", t_sampler_.history()}, {"counts", t_sampler_.counts()}};
  }

  bool load(const TensorMap& state, const std::string&) override {
    if (!t_sampler_.has_state()) return true;
    if (!state.count("history") || !state.count("counts")) return false;
    t_sampler_.load(state.at("history"), state.at("counts"));
    return true;
  }

 private:
  ObjectiveOptions objective_;
  Process process_;
  Loss loss_;
  TimestepSampler t_sampler_;
  at::Device device_;
};

}  // namespace

std::unique_ptr<StepLoss> make_step_loss(const ObjectiveOptions& objective, const Process& process,
                                         at::Device device, Decoder decoder,
                                         double schedule_learning_rate, uint64_t seed) {
  if (process.options().beta_schedule != "learned")
    return std::make_unique<TableLoss>(objective, process, device, decoder);
  return std::make_unique<LearnedScheduleLoss>(objective, process, device, decoder,
                                               schedule_learning_rate, seed);
}

}  // namespace tweedie

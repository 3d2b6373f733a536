#include "tweedie/train/learned_schedule_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tests/train/tiny_training.h"
#include "tweedie/process/config_json.h"
#include "tweedie/train/draws.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

ProcessOptions learned() {
  ProcessOptions options;
  options.num_train_timesteps = 20;
  options.beta_start = 0.01, options.beta_end = 0.5;
  options.beta_schedule = "learned";
  return first_process(options);
}

Batch batch() {
  const Tensor images = at::linspace(-1, 1, 6 * 8).view({6, 2, 2, 2});
  return {images.clone(), at::full({6}, -1, at::kLong)};
}

LearnedScheduleLoss loss_of(const ObjectiveOptions& objective, double rate = 0.02) {
  return {objective, Process(learned()), at::kCPU, Decoder::kContinuous, rate, 3};
}

Tensor betas_of(const StepLoss& loss) {
  return at::tensor(*loss.process().options().trained_betas, at::kDouble);
}

TrainSetup learned_setup(const fs::path& folder) {
  TrainSetup setup = tiny_setup(folder);
  setup.process = Process(learned());
  return setup;
}

}  // namespace

TEST(LearnedScheduleLoss, BeginsBetweenTheLinearSchedulesEnds) {
  ProcessOptions linear = learned();
  linear.beta_schedule = "linear", linear.trained_betas.reset();
  const Schedule first = make_schedule(learned()), other = make_schedule(linear);
  EXPECT_NEAR(first.snr(19), other.snr(19), 1e-9);
  EXPECT_LT(first.snr(0), other.snr(0));  // g0 is at t = 0, step 1 one twentieth beyond it
  EXPECT_EQ(betas_of(loss_of({})).size(0), 20);
}

// The same steps with the graph that leads through the network to alpha and sigma.
TEST(LearnedScheduleLoss, TheSchedulesGradientIsThatThroughTheNetwork) {
  for (const char* objective : {"simple", "vlb"}) {
    const Tensor w = at::tensor({0.3}).requires_grad_();
    const LabelledNetwork network = [&](const Tensor& x, const Tensor& t, const Tensor&) {
      return (w * x * (1 + 0.1 * t.view({-1, 1, 1, 1}))).tanh();
    };
    LearnedScheduleLoss loss = loss_of({.loss = objective});
    ProcessOptions linear = learned();
    linear.beta_schedule = "linear", linear.trained_betas.reset();
    const Schedule ends = make_schedule(linear);
    LearnedSchedule plain({.num_train_timesteps = 20,
                           .g0 = -std::log(ends.snr(0)),
                           .g1 = -std::log(ends.snr(19)),
                           .seed = 3});
    for (uint64_t k = 0; k < 5; ++k) {
      loss.backward(network, batch(), 0, 0.5, Rng(7, k));
      loss.end_step(1);

      Rng rng(7, k);
      const ScheduleDraw at = plain.draw(6, rng.uniform());
      const Draws draws = draw(batch(), at.step - 1, 0, 0, rng);
      const Tensor x =
          at.alpha.view({-1, 1, 1, 1}) * batch().images + at.sigma.view({-1, 1, 1, 1}) * draws.eps;
      const Tensor off = draws.eps - network(x, draws.t, {});
      plain.step(plain.terms(at, batch().images, off.square().flatten(1).sum(1)), 0.02);
    }
    const Tensor expected = at::tensor(plain.trained_betas(), at::kDouble);
    const Tensor before = at::tensor(*learned().trained_betas, at::kDouble);
    EXPECT_LT(((betas_of(loss) - expected) / expected).abs().max().item<double>(), 1e-5);
    EXPECT_GT(((before - expected) / expected).abs().max().item<double>(), 0.05);
  }
}

// vlb: T times the bound's own term, with the mean of x_0 and r_1^2 as the decoder's.
TEST(LearnedScheduleLoss, VlbIsTheBoundInBitsPerDim) {
  LearnedScheduleLoss loss = loss_of({.loss = "vlb"});
  const Tensor w = at::tensor({0.3}).requires_grad_();
  const LabelledNetwork network = [&](const Tensor& x, const Tensor&, const Tensor&) {
    return w * x;
  };
  const Schedule schedule = loss.process().schedule();
  Rng rng(7, 1);
  const double u = rng.uniform();
  double expected = 0;
  std::vector<int64_t> steps;
  for (int64_t j = 0; j < 6; ++j)
    steps.push_back(static_cast<int64_t>(std::fmod(u + double(j) / 6, 1) * 20));
  const Draws draws = draw(batch(), at::tensor(steps, at::kLong), 0, 0, rng);
  for (int64_t j = 0; j < 6; ++j) {
    const Level at = schedule.level(steps[j]);
    const Tensor x = at.alpha * batch().images[j] + at.sigma * draws.eps[j];
    const double error = (draws.eps[j] - 0.3 * x).square().sum().item<double>();
    const double ratio =
        steps[j] == 0 ? 1 : schedule.snr(steps[j] - 1) / schedule.snr(steps[j]) - 1;
    expected += 20 * ratio / 2 * error / 8 / std::numbers::ln2 / 6;  // VDM Sec. 4
  }
  const double found = loss.backward(network, batch(), 0, 1, Rng(7, 1)).item<double>();
  EXPECT_NEAR(found, expected, 1e-5 * expected);
}

// A network that finds eps leaves g0 the decoder alone, and Adam's first moment is a tenth of that
// gradient: of 8-bit levels, 1/127.5 apart, that of E[-ln P(0 | r_1 eps)] by the plain sum over
// them. VDM Eq. 8
TEST(LearnedScheduleLoss, TheDecoderOfPicturesIsThatOfTheirLevels) {
  ProcessOptions options = learned();
  options.trained_betas.reset();
  options.beta_start = 1e-6;  // so little noise that the levels are told apart
  LearnedScheduleLoss loss({.loss = "vlb"}, Process(first_process(options)), at::kCPU,
                           Decoder::kDiscretised, 0.02, 3);
  const Schedule schedule = loss.process().schedule();
  std::vector<float> sigma;
  for (int64_t k = 0; k < 20; ++k) sigma.push_back(static_cast<float>(schedule.level(k).sigma));
  const LabelledNetwork knowing = [&](const Tensor& x, const Tensor& t, const Tensor&) {
    return x / at::tensor(sigma).index_select(0, t).view({-1, 1, 1, 1});
  };
  const Tensor black = at::zeros({6, 2, 2, 2});
  loss.backward(knowing, {black, at::full({6}, -1, at::kLong)}, 0, 1, Rng(7));
  const double g0 = loss.state().at("g0").item<double>(), g1 = -std::log(schedule.snr(19));
  const double first = -std::log(schedule.snr(0));  // g at step 1
  loss.end_step(1);

  const auto decoder = [](double g) {
    const double r = std::exp(g / 2);
    double sum = 0, mass = 0;
    for (double eps = -6; eps <= 6; eps += 1e-2) {
      double levels = 0;
      for (int l = -8; l <= 8; ++l)
        levels += std::exp(-std::pow(r * eps - l / 127.5, 2) / (2 * r * r));
      const double w = std::exp(-eps * eps / 2);
      sum += w * (eps * eps / 2 + std::log(levels)), mass += w;
    }
    return sum / mass;
  };
  const double slope = (decoder(first + 1e-4) - decoder(first - 1e-4)) / 2e-4;
  const double moved = (g1 - first) / (g1 - g0);  // d g(1/T) / d g0
  const double found = loss.state().at("exp_avg.g0").item<double>() / 0.1;
  EXPECT_NEAR(found, 8 * slope * moved, 1e-4 * found);  // eps is found to float32 alone
  EXPECT_LT(found, 0.8 * 8 * moved / 2);                // half is what it were of a density
}

TEST(LearnedScheduleLoss, TrainsAndResumesBitForBit) {
  const fs::path whole = fresh_folder("learned"), parts = fresh_folder("learned_parts");
  std::vector<double> betas;
  TrainCallbacks callbacks;
  callbacks.on_checkpoint = [&](const TrainView& view) {
    betas = *view.process.trained_betas;
    EXPECT_EQ(scheduler_json(view.process, "DDPMScheduler")["beta_schedule"], "linear");
  };
  Trainer(learned_setup(whole)).run(callbacks, {}, false);
  const std::vector<double> straight = betas;
  EXPECT_NE(straight, *learned().trained_betas);
  const CancelToken cancel;
  callbacks.progress = [&](const Progress& p) {
    if (p.done == 7) cancel.cancel();
  };
  message_of([&] { Trainer(learned_setup(parts)).run(callbacks, cancel, false); },
             Error::Kind::kInterrupted);
  callbacks.progress = {};
  Trainer(learned_setup(parts)).run(callbacks, {}, true);
  EXPECT_EQ(betas, straight);
  EXPECT_TRUE(same_bytes(whole, parts, 12));
}

TEST(LearnedScheduleLoss, RefusesWhatItDoesNotTrain) {
  const auto fault = [](ObjectiveOptions objective, const char* prediction = "epsilon") {
    return message_of([&] {
      ProcessOptions options = learned();
      options.prediction_type = prediction;
      make_step_loss(objective, Process(options), at::kCPU, Decoder::kDiscretised, 1e-3, 0);
    });
  };
  EXPECT_EQ(fault({}), "");
  EXPECT_TRUE(contains(fault({}, "v_prediction"), "v_prediction"));
  EXPECT_TRUE(contains(fault({.loss = "hybrid"}), "hybrid"));
  EXPECT_TRUE(contains(fault({.weighting = "min_snr"}), "min_snr"));
  EXPECT_TRUE(contains(fault({.t_sampler = "loss_second_moment"}), "stratified"));
  ProcessOptions untrained;
  untrained.beta_schedule = "learned";
  EXPECT_TRUE(contains(message_of([&] { Process{untrained}; }), "trained with a network"));
}

}  // namespace tweedie

#include "tweedie/losses/loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/support/errors.h"
#include "tweedie/losses/simple.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

struct Case {
  Process process;
  Tensor x0, eps, t, x_t;

  explicit Case(const std::string& prediction = "epsilon",
                const std::string& variance = "fixed_small", int64_t T = 1000)
      : process([&] {
          ProcessOptions options;
          options.num_train_timesteps = T;
          options.beta_schedule = "squaredcos_cap_v2";
          options.prediction_type = prediction, options.variance_type = variance;
          return options;
        }()) {
    torch::manual_seed(1);
    x0 = ((torch::rand({6, 2, 4, 4}) * 255).round() / 127.5 - 1);
    eps = torch::randn_like(x0);
    t = torch::tensor({T / 2, int64_t{0}, int64_t{1}, T - 1, T / 3, int64_t{7}}, torch::kLong);
    x_t = process.add_noise(x0, eps, t);
  }
  Noised noised() const { return {x0, eps, x_t, t}; }
};

ObjectiveOptions minimising(const std::string& loss) {
  ObjectiveOptions options;
  options.loss = loss;
  return options;
}

}  // namespace

TEST(Loss, SimpleIsTheErrorOfThePrediction) {
  for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
    const Case c(prediction);
    const Tensor output = torch::randn_like(c.x0);
    const Tensor expected = simple_loss(output, c.process.target(c.x0, c.eps, c.t));
    EXPECT_TRUE(Loss(minimising("simple"), c.process)(output, c.noised()).equal(expected));
  }
}

TEST(Loss, DistancesAreThoseOfTheirNames) {
  const Case c;
  const Tensor output = torch::randn_like(c.x0), d = (output - c.eps).abs();
  ObjectiveOptions options;
  options.distance = "l1";
  EXPECT_TRUE(torch::allclose(Loss(options, c.process)(output, c.noised()), d.flatten(1).mean(1)));
  options.distance = "huber", options.huber_delta = 0.7;
  const Tensor huber = torch::where(d < 0.7, d * d / 2, 0.7 * (d - 0.35));
  EXPECT_TRUE(
      torch::allclose(Loss(options, c.process)(output, c.noised()), huber.flatten(1).mean(1)));
}

TEST(Loss, AWeightingMultipliesEachExampleByThatOfItsT) {
  const Case c("v_prediction");
  ObjectiveOptions options;
  options.weighting = "min_snr";
  const Tensor output = torch::randn_like(c.x0);
  const Tensor plain = Loss({}, c.process)(output, c.noised());
  const Tensor found = Loss(options, c.process)(output, c.noised());
  for (int i = 0; i < 6; ++i) {
    const Level at = c.process.schedule().level(c.t[i].item<int64_t>());
    const double snr = std::pow(at.alpha / at.sigma, 2);
    const double weight = std::min(snr, 5.) / (1 + snr);  // MinSNR Sec. 3.4
    EXPECT_NEAR(found[i].item<double>(), weight * plain[i].item<double>(), 1e-6) << i;
  }
}

// T times a term, uniform over t, is the whole bound but for L_T.
TEST(Loss, VlbAveragesToTheBound) {
  const Case c("epsilon", "learned_range", 30);
  const Process& process = c.process;
  const VariationalBound bound(process.levels(30), "learned_range");
  const Loss loss(minimising("vlb"), process);
  const Tensor x0 = c.x0.narrow(0, 0, 1).expand({30, 2, 4, 4}), t = torch::arange(30);
  const Tensor eps = torch::randn_like(x0), output = 0.3 * torch::randn({30, 4, 4, 4});
  const Tensor x_t = process.add_noise(x0, eps, t);
  ProcessOptions open = process.options();
  open.clip_sample = false;
  const Estimate e = Process(open).estimate(output, x_t, t);
  const double sum = bound.term(e, x0, t).sum().item<double>();
  EXPECT_NEAR(loss(output, {x0, eps, x_t, t}).mean().item<double>(), sum, 1e-5 * sum);
}

// IDDPM Eq. 16: the bound teaches the variance alone.
TEST(Loss, HybridLeavesTheMeanToSimple) {
  const Case c("epsilon", "learned_range");
  const Tensor output = torch::randn({6, 4, 4, 4}).requires_grad_();
  Loss(minimising("hybrid"), c.process)(output, c.noised()).sum().backward();
  const Tensor of_hybrid = output.grad().clone();
  output.mutable_grad().zero_();
  simple_loss(output.narrow(1, 0, 2), c.eps).sum().backward();
  EXPECT_TRUE(of_hybrid.narrow(1, 0, 2).equal(output.grad().narrow(1, 0, 2)));
  output.mutable_grad().zero_();
  Loss(minimising("vlb"), c.process)(output, c.noised()).sum().backward();
  const Tensor of_vlb = output.grad().narrow(1, 2, 2);
  EXPECT_TRUE(torch::allclose(of_hybrid.narrow(1, 2, 2), 1e-3 * of_vlb, 1e-5, 1e-12));
  EXPECT_GT(of_vlb.abs().max().item<double>(), 0);
}

TEST(Loss, GradientsAreFiniteAtBothEndsWhateverTheNetworkSays) {
  for (const char* prediction : {"epsilon", "sample", "v_prediction"})
    for (const char* name : {"vlb", "hybrid"}) {
      const Case c(prediction, "learned_range", 4000);
      Tensor output = torch::randn({6, 4, 4, 4});  // a wild mean and a variance that is not
      output.narrow(1, 0, 2).mul_(50);
      output.requires_grad_();
      const Tensor loss = Loss(minimising(name), c.process)(output, c.noised());
      loss.sum().backward();
      EXPECT_TRUE(loss.isfinite().all().item<bool>()) << prediction << " " << name;
      EXPECT_TRUE(output.grad().isfinite().all().item<bool>()) << prediction << " " << name;
    }
}

TEST(Loss, RefusesWhatDoesNotFitTheProcess) {
  const Case fixed, learned("epsilon", "learned_range");
  const auto refusal = [](const ObjectiveOptions& options, const Process& process) {
    return message_of([&] { Loss(options, process); });
  };
  EXPECT_TRUE(contains(refusal(minimising("hybrid"), fixed.process), "use learned_range"));
  EXPECT_TRUE(contains(refusal(minimising("simple"), learned.process), "use hybrid or vlb"));
  ObjectiveOptions weighed = minimising("vlb");
  weighed.weighting = "p2";
  EXPECT_TRUE(contains(refusal(weighed, learned.process), "weighting is p2"));
}

}  // namespace tweedie

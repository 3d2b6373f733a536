#include "tweedie/losses/loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/level_mass.h"
#include "tweedie/losses/simple.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

double square(double x) { return x * x; }

// With the path that a prediction is made for.
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
          if (prediction == "edm") options.path = "edm";
          if (prediction == "flow_prediction") options.path = "flow";
          return options;
        }()) {
    at::manual_seed(1);
    x0 = ((at::rand({6, 2, 4, 4}) * 255).round() / 127.5 - 1);
    eps = at::randn_like(x0);
    t = at::tensor({T / 2, int64_t{0}, int64_t{1}, T - 1, T / 3, int64_t{7}}, at::kLong);
    x_t = process.add_noise(x0, eps, t);
  }
  Noised noised() const { return {x0, eps, x_t, t}; }
};

ObjectiveOptions minimising(const std::string& loss) {
  ObjectiveOptions options;
  options.loss = loss;
  return options;
}

constexpr double kData = 0.5;  // sigma_data

// What the papers ask of the network for one number of x_t = a x_0 + s eps.
double target_of(const std::string& prediction, const Level& at, double x0, double eps) {
  if (prediction == "epsilon") return eps;
  if (prediction == "sample") return x0;
  if (prediction == "v_prediction") return at.alpha * eps - at.sigma * x0;  // PD Sec. 4
  if (prediction == "flow_prediction") return eps - x0;                     // FM Sec. 4
  const double skip = square(kData) / (square(at.sigma) + square(kData));   // EDM Table 1
  const double out = at.sigma * kData / std::hypot(at.sigma, kData);
  return (x0 - skip * (x0 + at.sigma * eps)) / out;  // EDM Eq. 8
}

// And what its output then says of x_0.
double belief_of(const std::string& prediction, const Level& at, double x, double output) {
  if (prediction == "epsilon") return (x - at.sigma * output) / at.alpha;  // DDPM Eq. 15
  if (prediction == "sample") return output;
  if (prediction == "v_prediction") return at.alpha * x - at.sigma * output;  // PD Sec. 4
  if (prediction == "flow_prediction") return x - at.sigma * output;          // FM Sec. 4
  const double skip = square(kData) / (square(at.sigma) + square(kData));     // EDM Table 1
  return skip * x + at.sigma * kData / std::hypot(at.sigma, kData) * output;  // EDM Eq. 7
}

// The bound's term of one number in nats: x_(k-1) given x_k and x_0, or X, by Bayes' rule, and the
// divergence of the two; at k = 0 the decoder, for which the variance of the next step stands in
// (DDPM's code) or, off the vp path, the spread of x_1. `share`: learned_range's.
double term_of(const Process& process, int64_t k, const std::string& variance, double x0,
               double belief, double share) {
  const Schedule& schedule = process.schedule();
  const Level first = schedule.level(0), at = schedule.level(std::max<int64_t>(k, 1)),
              next = schedule.level(std::max<int64_t>(k - 1, 0));
  const double kept = at.alpha / next.alpha;
  const double beta = square(at.sigma) - square(kept * next.sigma);
  const double tilde = 1 / (1 / square(next.sigma) + square(kept) / beta);
  const double upper = k > 0 ? beta : square(first.sigma);
  double model = tilde;
  if (variance == "fixed_large" && k > 0) model = beta;
  if (variance == "learned_range")
    model = std::exp(share * std::log(upper) + (1 - share) * std::log(tilde));  // IDDPM Eq. 15
  if (k == 0) {
    if (process.options().path != "vp") model = square(first.sigma / first.alpha);
    const int level = static_cast<int>(std::lround((x0 + 1) * 127.5));
    return -std::log(testing::level_mass(level, belief, std::sqrt(model)));  // DDPM Eq. 13
  }
  const double apart = tilde * next.alpha / square(next.sigma) * (x0 - belief);
  return (std::log(model / tilde) - 1 + (tilde + square(apart)) / model) / 2;  // DDPM Eq. 5
}

}  // namespace

// DDPM Eq. 14
TEST(Loss, SimpleIsTheErrorOfThePrediction) {
  for (const std::string& prediction : prediction_types()) {
    const Case c(prediction);
    const Tensor output = at::randn_like(c.x0);
    const Tensor found = Loss(minimising("simple"), c.process)(output, c.noised());
    const Tensor x0 = c.x0.flatten(1), eps = c.eps.flatten(1), said = output.flatten(1);
    for (int64_t i = 0; i < 6; ++i) {
      const Level at = c.process.schedule().level(c.t[i].item<int64_t>());
      double expected = 0;
      for (int64_t d = 0; d < 32; ++d) {
        const double target =
            target_of(prediction, at, x0[i][d].item<double>(), eps[i][d].item<double>());
        expected += square(target - said[i][d].item<double>()) / 32;
      }
      EXPECT_NEAR(found[i].item<double>(), expected, 1e-5 * expected) << prediction << " " << i;
    }
  }
}

TEST(Loss, DistancesAreThoseOfTheirNames) {
  const Case c;
  const Tensor output = at::randn_like(c.x0), d = (output - c.eps).abs();
  ObjectiveOptions options;
  options.distance = "l1";
  EXPECT_TRUE(at::allclose(Loss(options, c.process)(output, c.noised()), d.flatten(1).mean(1)));
  options.distance = "huber", options.huber_delta = 0.7;
  const Tensor huber = at::where(d < 0.7, d * d / 2, 0.7 * (d - 0.35));
  EXPECT_TRUE(at::allclose(Loss(options, c.process)(output, c.noised()), huber.flatten(1).mean(1)));
}

TEST(Loss, AWeightingMultipliesEachExampleByThatOfItsT) {
  const Case c("v_prediction");
  ObjectiveOptions options;
  options.weighting = "min_snr";
  const Tensor output = at::randn_like(c.x0);
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
// IDDPM Eq. 18
TEST(Loss, VlbAveragesToTheBound) {
  const int64_t T = 30, D = 32;
  for (const auto& [prediction, variance] : {std::pair("epsilon", "learned_range"),
                                             {"sample", "fixed_large"},
                                             {"v_prediction", "fixed_small"},
                                             {"flow_prediction", "fixed_small"},
                                             {"edm", "fixed_small"}}) {
    SCOPED_TRACE(prediction);
    const Case c(prediction, variance, T);
    const Schedule& schedule = c.process.schedule();
    const Tensor x0 = c.x0.narrow(0, 0, 1).repeat({T, 1, 1, 1}), t = at::arange(T);
    const Tensor eps = at::randn_like(x0), x_t = c.process.add_noise(x0, eps, t);
    const bool learned = std::string(variance) == "learned_range";
    const Tensor output = 0.3 * at::randn({T, learned ? 4 : 2, 4, 4});
    std::vector<double> expected(T, 0);
    for (int64_t k = 0; k < T; ++k) {
      float* said = output[k].data_ptr<float>();
      const float *data = x0[k].data_ptr<float>(), *noise = eps[k].data_ptr<float>(),
                  *x = x_t[k].data_ptr<float>();
      for (int64_t d = 0; d < D; ++d) {  // a network that is 0.3 off its target
        said[d] += static_cast<float>(target_of(prediction, schedule.level(k), data[d], noise[d]));
        const double belief = belief_of(prediction, schedule.level(k), x[d], said[d]);
        const double share = learned ? (double(said[D + d]) + 1) / 2 : 0;
        expected[k] += term_of(c.process, k, variance, data[d], belief, share) / (D * std::log(2));
      }
    }
    const Tensor found = Loss(minimising("vlb"), c.process)(output, {x0, eps, x_t, t});
    double sum = 0;
    for (int64_t k = 0; k < T; ++k) {
      // On edm x_0 - X is 1e-3 at the data's end, and X known to float32's 6e-8.
      EXPECT_NEAR(found[k].item<double>() / T, expected[k], 3e-4 * expected[k]) << k;
      sum += expected[k];
    }
    EXPECT_NEAR(found.mean().item<double>(), sum, 1e-4 * sum);
  }
}

// IDDPM Eq. 16: the bound teaches the variance alone.
TEST(Loss, HybridLeavesTheMeanToSimple) {
  const Case c("epsilon", "learned_range");
  const Tensor output = at::randn({6, 4, 4, 4}).requires_grad_();
  Loss(minimising("hybrid"), c.process)(output, c.noised()).sum().backward();
  const Tensor of_hybrid = output.grad().clone();
  output.mutable_grad().zero_();
  simple_loss(output.narrow(1, 0, 2), c.eps).sum().backward();
  EXPECT_TRUE(of_hybrid.narrow(1, 0, 2).equal(output.grad().narrow(1, 0, 2)));
  output.mutable_grad().zero_();
  Loss(minimising("vlb"), c.process)(output, c.noised()).sum().backward();
  const Tensor of_vlb = output.grad().narrow(1, 2, 2);
  EXPECT_TRUE(at::allclose(of_hybrid.narrow(1, 2, 2), 1e-3 * of_vlb, 1e-5, 1e-12));
  EXPECT_GT(of_vlb.abs().max().item<double>(), 0);
}

TEST(Loss, GradientsAreFiniteAtBothEndsWhateverTheNetworkSays) {
  for (const char* prediction : {"epsilon", "sample", "v_prediction"})
    for (const char* name : {"vlb", "hybrid"}) {
      const Case c(prediction, "learned_range", 4000);
      Tensor output = at::randn({6, 4, 4, 4});  // a wild mean and a variance that is not
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

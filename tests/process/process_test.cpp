#include "tweedie/process/process.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/errors.h"
#include "tweedie/core/rng.h"

namespace tweedie {
namespace {

using testing::message_of;

Process make(const std::string& prediction, bool clip = false) {
  ProcessOptions options;
  options.prediction_type = prediction;
  options.clip_sample = clip;
  return Process(options);
}

Tensor one(double value) { return at::full({1, 1, 1, 1}, value, at::kDouble); }

Tensor some(uint64_t seed, std::vector<int64_t> shape, double scale = 1) {
  const int64_t n = c10::multiply_integers(shape);
  Tensor flat = at::empty({n}, at::kFloat);
  Rng(seed).fill_normal(flat.data_ptr<float>(), n);
  return (scale * flat).view(shape);
}

}  // namespace

// DDPM Eq. 4
TEST(Process, AddsNoiseByTheLevelOfEachExample) {
  const Process p = make("epsilon");
  const Tensor x0 = some(1, {3, 2, 4, 5}), eps = some(2, {3, 2, 4, 5});
  const Tensor t = at::tensor({0, 499, 999}, at::kLong);
  const Tensor xt = p.add_noise(x0, eps, t);
  ASSERT_EQ(xt.scalar_type(), at::kFloat);
  const double alpha_cumprod[] = {0.9999, 0.0785872428817782, 4.03582976537568e-5};
  for (int n = 0; n < 3; ++n) {
    const Tensor expected = std::sqrt(alpha_cumprod[n]) * x0[n].to(at::kDouble) +
                            std::sqrt(1 - alpha_cumprod[n]) * eps[n].to(at::kDouble);
    EXPECT_LT((xt[n] - expected).abs().max().item<double>(), 1e-6) << n;
  }
}

// Whatever is asked for, and on every path: a network that hits its target knows x_0 and eps.
// EDM Eq. 8 and FM Sec. 4
TEST(Process, TheTargetSaysX0AndEps) {
  const Tensor x0 = 0.5 * some(1, {3, 2, 4, 5}).to(at::kDouble);
  const Tensor eps = some(2, {3, 2, 4, 5}).to(at::kDouble);
  const Tensor t = at::tensor({3, 499, 999}, at::kLong);
  for (const char* path : {"vp", "edm", "flow"})
    for (const std::string& prediction : prediction_types()) {
      if (prediction == "epsilon" && std::string(path) == "flow") continue;  // alpha_T = 0
      ProcessOptions options;
      options.path = path, options.prediction_type = prediction, options.clip_sample = false;
      options.sigma_data = 0.7;
      const Process p(options);
      const Estimate e = p.estimate(p.target(x0, eps, t), p.add_noise(x0, eps, t), t);
      EXPECT_LT((e.x0 - x0).abs().max().item<double>(), 1e-8) << path << " " << prediction;
      EXPECT_LT((e.eps - eps).abs().max().item<double>(), 1e-8) << path << " " << prediction;
    }
}

// EDM Eq. 7 and Table 1 written out, in EDM's own coordinates.
TEST(Process, PreconditionsAsEdmPrints) {
  ProcessOptions options;
  options.path = options.prediction_type = "edm";
  options.clip_sample = false;
  const Process p(options);
  const int64_t k = 600;
  const Level at = p.schedule().level(k);
  const double sigma = at.sigma, data = 0.5, x = 0.9, F = -0.3;
  const double total = sigma * sigma + data * data;
  const double expected = data * data / total * x + sigma * data / std::sqrt(total) * F;
  EXPECT_EQ(at.alpha, 1);
  EXPECT_NEAR(p.estimate(one(F), one(x), at).x0.item<double>(), expected, 1e-14);
  const Tensor t = at::full({1}, k, at::kLong);
  EXPECT_NEAR(p.network_input(one(x), t).item<double>(), x / std::sqrt(total), 1e-14);
  EXPECT_NEAR(p.told(t).item<double>(), std::log(sigma) / 4, 1e-6);
  EXPECT_EQ(p.initial_std(at), sigma);
  EXPECT_NEAR(p.schedule().level(0).sigma, 0.002, 1e-15);
  EXPECT_NEAR(p.schedule().level(999).sigma, 80, 1e-11);
  // The network meets inputs and targets of unit variance where the images have that of the data.
  const Tensor x0 = data * some(3, {1, 100000}).to(at::kDouble);
  const Tensor eps = some(4, {1, 100000}).to(at::kDouble);
  for (const int64_t level : {0, 500, 999}) {
    const Tensor t1 = at::full({1}, level, at::kLong), x_t = p.add_noise(x0, eps, t1);
    EXPECT_NEAR(p.network_input(x_t, t1).std().item<double>(), 1, 0.02) << level;
    EXPECT_NEAR(p.target(x0, eps, t1).std().item<double>(), 1, 0.02) << level;
  }
}

// EDM Eq. 5: ten levels between 0.002 and 80, from 40 digits.
TEST(Process, EdmLevelsAreSpacedAsEdmPrints) {
  ProcessOptions options;
  options.path = options.prediction_type = "edm";
  options.num_train_timesteps = 10;
  const Schedule s = Process(options).schedule();
  EXPECT_NEAR(s.level(8).sigma, 42.4151893185127, 1e-11);
  EXPECT_NEAR(s.level(4).sigma, 1.50174197906801, 1e-12);
}

TEST(Process, TheDenoiserScalesAndTellsAsTrainingDoes) {
  ProcessOptions options;
  options.path = options.prediction_type = "edm";
  const Process p(options);
  const Tensor x = some(5, {2, 1, 2, 2}), t = at::full({2}, 700, at::kLong);
  p.denoiser([&](const Tensor& input, const Tensor& told) {
    EXPECT_TRUE(at::allclose(input, p.network_input(x, t)));
    EXPECT_TRUE(at::allclose(told, p.told(t)));
    return input;
  })(x, p.schedule().level(700));
}

// FM Sec. 4 and SD3 Eq. 23
TEST(Process, FlowIsTheStraightWayWithItsShift) {
  ProcessOptions options;
  options.path = "flow", options.prediction_type = "flow_prediction";
  const Level middle = Process(options).schedule().level(499);
  EXPECT_DOUBLE_EQ(middle.alpha, 0.5);
  EXPECT_DOUBLE_EQ(middle.sigma, 0.5);
  EXPECT_DOUBLE_EQ(middle.t, 500);
  options.shift = 3;
  EXPECT_DOUBLE_EQ(Process(options).schedule().level(499).sigma, 0.75);  // 3 u / (1 + 2 u)
  EXPECT_EQ(Process(options).schedule().level(999).alpha, 0);
}

TEST(Process, EstimatesEachExampleAtItsOwnT) {
  const Tensor x = some(1, {3, 2, 4, 5}), output = some(2, {3, 4, 4, 5});
  const Tensor t = at::tensor({0, 499, 999}, at::kLong);
  for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
    const Process p = make(prediction, /*clip=*/true);
    const Estimate all = p.estimate(output, x, t);
    for (int n = 0; n < 3; ++n) {
      const Level at = p.schedule().level(t[n].item<int64_t>());
      const Estimate one = p.estimate(output.narrow(0, n, 1), x.narrow(0, n, 1), at);
      EXPECT_TRUE(at::allclose(all.x0[n], one.x0[0], 1e-5, 1e-6)) << prediction << n;
      EXPECT_TRUE(at::allclose(all.eps[n], one.eps[0], 1e-5, 1e-6)) << prediction << n;
      EXPECT_TRUE(all.log_variance[n].equal(one.log_variance[0])) << prediction << n;
    }
  }
}

TEST(Process, CastsItsTableAfterGathering) {
  // 1 - abar_0 = 1e-4: a float32 cumulative product would be wrong in the fourth digit of sigma^2.
  const Tensor t = at::zeros({1}, at::kLong);
  const Tensor sigma =
      make("epsilon").add_noise(at::zeros({1, 1, 1, 1}), at::ones({1, 1, 1, 1}), t);
  EXPECT_EQ(sigma.item<float>(), static_cast<float>(std::sqrt(1e-4)));
}

// DDPM Eq. 4
TEST(Process, NoisedDataHasTheSignalAndNoiseOfItsLevel) {
  const Process p = make("epsilon");
  const int64_t n = 200000;
  const Tensor t = at::full({1}, 299, at::kLong);
  const Tensor x = p.add_noise(at::full({1, n}, 0.5), some(3, {1, n}), t);
  const double alpha_cumprod = p.schedule().alpha_cumprod(299);
  EXPECT_NEAR(x.mean().item<double>(), 0.5 * std::sqrt(alpha_cumprod), 0.01);
  EXPECT_NEAR(x.var().item<double>(), 1 - alpha_cumprod, 0.01);
}

// DDPM Eq. 4, 15, PD Sec. 4 and FM Sec. 4
TEST(Process, ConvertsEveryPredictionByTheReferenceValues) {
  const double x = 0.7, eps = -0.4, x0 = 3.86667460690517;  // k = 499
  const double v = -3.82376418149514, u = -4.26667460690517;
  const Level at = make("epsilon").schedule().level(499);
  const std::pair<const char*, double> outputs[] = {
      {"epsilon", eps}, {"sample", x0}, {"v_prediction", v}, {"flow_prediction", u}};
  for (const auto& [prediction, output] : outputs) {
    const Estimate e = make(prediction).estimate(one(output), one(x), at);
    EXPECT_NEAR(e.x0.item<double>(), x0, 1e-11) << prediction;
    EXPECT_NEAR(e.eps.item<double>(), eps, 1e-11) << prediction;
    EXPECT_FALSE(e.log_variance.defined());
  }
}

// DDPM Eq. 15 and PD Sec. 4
TEST(Process, EstimateUndoesTarget) {
  const Tensor x0 = some(4, {2, 3, 4, 4}).to(at::kDouble),
               eps = some(5, {2, 3, 4, 4}).to(at::kDouble);
  for (const char* prediction : {"epsilon", "sample", "v_prediction"}) {
    const Process p = make(prediction);
    for (const int64_t k : {0, 10, 500, 999}) {
      const Tensor t = at::full({2}, k, at::kLong);
      const Tensor target = p.target(x0, eps, t), xt = p.add_noise(x0, eps, t);
      const Estimate e = p.estimate(target, xt, p.schedule().level(k));
      EXPECT_LT((e.x0 - x0).abs().max().item<double>(), 1e-11) << prediction << " " << k;
      EXPECT_LT((e.eps - eps).abs().max().item<double>(), 1e-11) << prediction << " " << k;
    }
  }
}

// PD Sec. 4
TEST(Process, TargetsAreTheOnesOfTheirPapers) {
  const Tensor x0 = one(0.25), eps = one(-2), t = at::full({1}, 499, at::kLong);
  const double a = std::sqrt(0.0785872428817782), s = std::sqrt(1 - 0.0785872428817782);
  EXPECT_EQ(make("epsilon").target(x0, eps, t).item<double>(), -2);
  EXPECT_EQ(make("sample").target(x0, eps, t).item<double>(), 0.25);
  EXPECT_NEAR(make("v_prediction").target(x0, eps, t).item<double>(), a * -2 - s * 0.25, 1e-14);
}

TEST(Process, ClippingCutsX0AndLeavesEpsAlone) {
  const Process clipped = make("epsilon", true);
  const Level at = clipped.schedule().level(499);
  const Estimate e = clipped.estimate(one(-0.4), one(0.7), at);
  EXPECT_EQ(e.x0.item<double>(), 1);
  EXPECT_EQ(e.eps.item<double>(), -0.4);
  ProcessOptions options = clipped.options();
  options.clip_sample_range = 2.5;
  EXPECT_EQ(Process(options).estimate(one(-0.4), one(0.7), at).x0.item<double>(), 2.5);
  EXPECT_EQ(Process(options).estimate(one(0.4), one(-0.7), at).x0.item<double>(), -2.5);
}

// Imagen Sec. 2.3
TEST(Process, DynamicThresholdingScalesEachExampleByItsOwnQuantile) {
  ProcessOptions options;
  options.thresholding = true;
  options.dynamic_thresholding_ratio = 0.75;
  options.sample_max_value = 3;
  const Process p(options);
  // |x_0| of the first example is 0, 1, 2, 4, 8: its quantile .75 is 4, capped at 3; the second's
  // is below 1.
  const Tensor x0 = at::tensor({0., -1., 2., -4., 8., .1, .2, -.3, .4, .9}).view({2, 1, 1, 5});
  const Tensor expected =
      at::tensor({0., -1. / 3, 2. / 3, -1., 1., .1, .2, -.3, .4, .9}).view({2, 1, 1, 5});
  EXPECT_LT((p.clip(x0) - expected).abs().max().item<double>(), 1e-7);
  options.sample_max_value = 10;
  EXPECT_LT((Process(options).clip(x0)[0].flatten() - at::tensor({0., -.25, .5, -1., 1.}))
                .abs()
                .max()
                .item<double>(),
            1e-7);
}

TEST(Process, SplitsTheLearnedVarianceFromTheOutput) {
  const Process p = make("epsilon");
  const Tensor x = some(6, {2, 3, 4, 4}), output = some(7, {2, 6, 4, 4});
  const Level at = p.schedule().level(500);
  const Estimate e = p.estimate(output, x, at);
  EXPECT_TRUE(e.eps.equal(output.narrow(1, 0, 3)));
  EXPECT_TRUE(e.log_variance.equal(output.narrow(1, 3, 3)));
  EXPECT_EQ(message_of([&] {
              p.estimate(some(8, {2, 4, 4, 4}), x, at);
            }),
            "[process] the network gives 4 channels for an image of 3: expected 3, or 6 with a "
            "learned variance");
}

TEST(Process, RefusesEpsilonWhereNoSignalIsLeft) {
  ProcessOptions options;
  options.rescale_betas_zero_snr = true;
  options.timestep_spacing = "trailing";
  const std::string message =
      "[process] at t = 999 the schedule leaves no signal, so x_0 does not follow from "
      "prediction_type epsilon, as it does from v_prediction or sample; timesteps that leave that "
      "t out (leading, of fewer steps) do without";
  const Process p(options);
  EXPECT_EQ(message_of([&] { p.levels(10); }), message);
  EXPECT_EQ(message_of([&] { p.estimate(one(1), one(1), p.schedule().level(999)); }), message);
  EXPECT_NO_THROW(p.levels(10, "leading"));
  options.prediction_type = "v_prediction";
  const Process v(options);
  const Estimate e = v.estimate(one(-0.5), one(1.25), v.levels(10).front());
  EXPECT_EQ(e.x0.item<double>(), 0.5);
  EXPECT_EQ(e.eps.item<double>(), 1.25);
}

TEST(Process, LevelsEndAtTheDataOrAtTheFirstLevel) {
  ProcessOptions options;
  const Process p(options);
  const std::vector<Level> levels = p.levels(4);
  ASSERT_EQ(levels.size(), 5u);
  EXPECT_EQ(levels[0].t, 750);
  EXPECT_EQ(levels[3].t, 0);
  EXPECT_EQ(levels[0].alpha, p.schedule().level(750).alpha);
  EXPECT_EQ(levels[4].alpha, 1);
  EXPECT_EQ(levels[4].sigma, 0);
  EXPECT_EQ(levels[4].t, -1);
  options.set_alpha_to_one = false;
  const Level end = Process(options).levels(4).back();
  EXPECT_NEAR(end.alpha * end.alpha, 0.9999, 1e-15);
  EXPECT_NEAR(end.sigma * end.sigma, 1e-4, 1e-18);
  EXPECT_EQ(end.t, 0);
}

TEST(Process, LevelsTakeOverridesAndRefuseLists) {
  const Process p{ProcessOptions{}};
  EXPECT_EQ(p.levels(4, "trailing").front().t, 999);
  EXPECT_EQ(p.levels(4, {}, 1).front().t, 751);
  EXPECT_EQ(message_of([&] { p.levels_at({5, 5}); }), "[process] timesteps must fall: 5 follows 5");
  EXPECT_EQ(message_of([&] { p.levels_at({1000}); }), "[process] timestep 1000 is outside 0..999");
  EXPECT_EQ(message_of([&] { p.levels(1001); }), "[process] steps: 1001 is outside 1..1000");
}

TEST(Process, DenoiserTellsTheNetworkTheTimeOfEveryExample) {
  const Process p = make("epsilon");
  Tensor seen;
  const Denoiser denoise = p.denoiser([&](const Tensor& x, const Tensor& t) {
    seen = t.clone();
    return 0.1 * x;
  });
  const Tensor x = some(9, {3, 1, 2, 2});
  const Estimate e = denoise(x, p.schedule().level(421));
  EXPECT_TRUE(seen.equal(at::full({3}, 421.f)));
  EXPECT_TRUE(e.eps.equal(0.1 * x));
}

TEST(Process, DenoiserRefusesAnOutputThatIsNotFinite) {
  // Clipping would hide an infinity.
  const Process p = make("epsilon", true);
  const Denoiser denoise =
      p.denoiser([](const Tensor& x, const Tensor&) { return x / at::zeros_like(x); });
  EXPECT_EQ(message_of([&] {
              denoise(at::ones({1, 1, 2, 2}), p.schedule().level(30));
            }),
            "[process] the network's output at t = 30 is not finite (NaN or Inf)");
}

TEST(Process, WorksOnTheDeviceOfItsInput) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  const Process p = make("v_prediction");
  const Tensor x0 = some(1, {2, 1, 4, 4}), eps = some(2, {2, 1, 4, 4});
  const Tensor t = at::tensor({3, 700}, at::kLong);
  const Tensor xt = p.add_noise(x0.cuda(), eps.cuda(), t.cuda());
  EXPECT_TRUE(xt.is_cuda());
  EXPECT_TRUE(xt.cpu().allclose(p.add_noise(x0, eps, t), 1e-5, 1e-6));
  EXPECT_TRUE(
      p.target(x0.cuda(), eps.cuda(), t.cuda()).cpu().allclose(p.target(x0, eps, t), 1e-5, 1e-6));
}

}  // namespace tweedie

#include "tweedie/losses/t_sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/support/errors.h"

namespace tweedie {
namespace {

Schedule linear(int64_t T) {
  ProcessOptions options;
  options.num_train_timesteps = T;
  options.beta_end = T < 100 ? 0.2 : 0.02;
  return Schedule(make_betas(options));
}

ObjectiveOptions drawing(const std::string& name) {
  ObjectiveOptions options;
  options.t_sampler = name;
  return options;
}

std::vector<double> shares(const TimestepSampler& sampler, int64_t T, int64_t n) {
  std::vector<double> out(T, 0);
  Rng rng(5);
  for (int64_t i = 0; i < n; ++i) out[sampler.draw(i % 64, 64, rng).t] += 1 / double(n);
  return out;
}

// Ten losses for each t: 1 + t.
TimestepSampler taught(int64_t T) {
  TimestepSampler sampler(drawing("loss_second_moment"), linear(T));
  for (int i = 0; i < 10; ++i) sampler.update(at::arange(T), at::arange(T).to(at::kFloat) + 1);
  return sampler;
}

}  // namespace

TEST(TimestepSampler, UniformIsUniformAndUnweighted) {
  const TimestepSampler sampler(drawing("uniform"), linear(20));
  for (const double share : shares(sampler, 20, 100000)) EXPECT_NEAR(share, 0.05, 0.004);
  Rng rng(1);
  EXPECT_EQ(sampler.draw(0, 1, rng).weight, 1);
}

TEST(TimestepSampler, StratifiedGivesEachExampleAStretchOfItsOwn) {
  const TimestepSampler sampler(drawing("stratified"), linear(1000));
  Rng rng(2);
  for (int64_t i = 0; i < 8; ++i)
    for (int repeat = 0; repeat < 50; ++repeat) {
      const int64_t t = sampler.draw(i, 8, rng).t;
      EXPECT_GE(t, 125 * i);
      EXPECT_LT(t, 125 * (i + 1));
    }
  for (const double share : shares(TimestepSampler(drawing("stratified"), linear(20)), 20, 100000))
    EXPECT_NEAR(share, 0.05, 0.004);
}

// ln(sigma/alpha) ~ N(-1.2, 1.2^2), EDM Table 1, on the nearest of many levels.
TEST(TimestepSampler, LogNormalHasTheMomentsOfEdm) {
  const Schedule schedule = linear(1000);
  const TimestepSampler sampler(drawing("log_normal"), schedule);
  Rng rng(3);
  double sum = 0, squares = 0;
  const int n = 50000;
  for (int i = 0; i < n; ++i) {
    const Level at = schedule.level(sampler.draw(i, n, rng).t);
    const double log_ratio = std::log(at.sigma / at.alpha);
    sum += log_ratio / n, squares += log_ratio * log_ratio / n;
  }
  EXPECT_NEAR(sum, -1.2, 0.03);
  EXPECT_NEAR(std::sqrt(squares - sum * sum), 1.2, 0.03);
}

// SD3 Eq. 19
TEST(TimestepSampler, LogitNormalHasItsMedianInTheMiddleAndThinEnds) {
  const TimestepSampler sampler(drawing("logit_normal"), linear(1000));
  const std::vector<double> share = shares(sampler, 1000, 100000);
  double below = 0, ends = 0;
  for (int t = 0; t < 500; ++t) below += share[t];
  for (int t = 0; t < 50; ++t) ends += share[t] + share[999 - t];
  EXPECT_NEAR(below, 0.5, 0.01);
  EXPECT_NEAR(ends, std::erfc(std::log(19.) / std::sqrt(2.)), 0.002);  // |logit| > ln 19
  ObjectiveOptions moved = drawing("logit_normal");
  moved.t_mean = std::log(3.);  // sigmoid = 3/4
  const std::vector<double> other = shares(TimestepSampler(moved, linear(1000)), 1000, 100000);
  double above = 0;
  for (int t = 750; t < 1000; ++t) above += other[t];
  EXPECT_NEAR(above, 0.5, 0.01);
}

TEST(TimestepSampler, SecondMomentIsUniformUntilEveryTHasItsTen) {
  TimestepSampler sampler(drawing("loss_second_moment"), linear(20));
  for (int i = 0; i < 9; ++i) sampler.update(at::arange(20), at::arange(20).to(at::kFloat));
  sampler.update(at::arange(19), at::ones({19}));
  Rng rng(4);
  EXPECT_EQ(sampler.draw(0, 1, rng).weight, 1);
  for (const double share : shares(sampler, 20, 50000)) EXPECT_NEAR(share, 0.05, 0.005);
}

// IDDPM Eq. 18: p ~ sqrt(E[L^2]), with a thousandth of uniform, and weight 1/(T p).
TEST(TimestepSampler, SecondMomentDrawsByTheSizeOfTheLossAndStaysUnbiased) {
  const int64_t T = 20;
  const TimestepSampler sampler = taught(T);
  const std::vector<double> share = shares(sampler, T, 200000);
  Rng rng(5);
  std::map<int64_t, double> weight;
  double mean = 0;
  const int n = 200000;
  for (int i = 0; i < n; ++i) {
    const auto drawn = sampler.draw(i, n, rng);
    weight[drawn.t] = drawn.weight;
    mean += drawn.weight * double(drawn.t * drawn.t) / n;
  }
  for (int64_t t = 0; t < T; ++t) {
    const double p = 0.999 * double(t + 1) / (T * (T + 1) / 2.) + 0.001 / T;
    EXPECT_NEAR(share[t], p, 0.004) << t;
    EXPECT_NEAR(weight[t], 1 / (T * p), 1e-9) << t;
  }
  EXPECT_NEAR(mean, 19 * 39 / 6., 1);  // the mean of t^2 over uniform t
}

TEST(TimestepSampler, SecondMomentForgetsAllButTheLastTen) {
  TimestepSampler sampler = taught(4);
  for (int i = 0; i < 10; ++i) sampler.update(at::arange(4), at::ones({4}));
  for (const double share : shares(sampler, 4, 50000)) EXPECT_NEAR(share, 0.25, 0.01);
}

TEST(TimestepSampler, AStateThatIsPutBackDrawsTheSame) {
  const TimestepSampler before = taught(20);
  TimestepSampler after(drawing("loss_second_moment"), linear(20));
  after.load(before.history(), before.counts());
  Rng one(9), other(9);
  for (int i = 0; i < 1000; ++i) {
    const auto a = before.draw(i, 1000, one), b = after.draw(i, 1000, other);
    EXPECT_EQ(a.t, b.t);
    EXPECT_EQ(a.weight, b.weight);
  }
  TimestepSampler shorter(drawing("loss_second_moment"), linear(10));
  EXPECT_TRUE(testing::contains(
      testing::message_of([&] { shorter.load(before.history(), before.counts()); }), "[10,10]"));
}

TEST(TimestepSampler, RefusesMomentsThatItDoesNotHeed) {
  ObjectiveOptions options = drawing("uniform");
  options.t_mean = 1;
  EXPECT_TRUE(testing::contains(testing::message_of([&] { TimestepSampler(options, linear(20)); }),
                                "log_normal"));
}

TEST(TimestepSampler, LogNormalNeedsSignalAtEveryStep) {
  ProcessOptions flow, zero;
  flow.path = "flow";
  zero.rescale_betas_zero_snr = true;
  for (const ProcessOptions& o : {flow, zero})
    EXPECT_NE(testing::message_of([&] {
                TimestepSampler(drawing("log_normal"), make_schedule(o));
              }).find("logit_normal"),
              std::string::npos);
}

}  // namespace tweedie

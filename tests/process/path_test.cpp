#include "tweedie/process/path.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/errors.h"

namespace tweedie {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

void expect_same(const Level& a, const Level& b, double tolerance) {
  EXPECT_NEAR(a.alpha, b.alpha, tolerance);
  EXPECT_NEAR(a.sigma, b.sigma, tolerance);
  EXPECT_NEAR(a.t, b.t, 1e3 * tolerance);
}

}  // namespace

TEST(Path, GoesThroughTheTable) {
  const Schedule schedule(make_betas({}));
  const Path path = vp_path(schedule);
  for (const int64_t k : {0, 1, 499, 998, 999}) {
    const Level level = schedule.level(k);
    expect_same(path.at_time(static_cast<double>(k)), level, 0);
    expect_same(path.at_ratio(noise_ratio(level)), level, 0);
  }
}

TEST(Path, IsLinearInTheLogarithmOfTheRatioBetweenEntries) {
  const Schedule schedule(make_betas({}));
  const Path path = vp_path(schedule);
  const double low = noise_ratio(schedule.level(200)), high = noise_ratio(schedule.level(201));
  const Level half = path.at_time(200.5);
  EXPECT_NEAR(noise_ratio(half), std::sqrt(low * high), 1e-13);
  EXPECT_NEAR(half.alpha * half.alpha + half.sigma * half.sigma, 1, 1e-14);
  EXPECT_NEAR(path.at_ratio(std::pow(low, 0.75) * std::pow(high, 0.25)).t, 200.25, 1e-10);
}

TEST(Path, BeyondTheTableTheTimeStaysAndTheLevelIsExact) {
  const Schedule schedule(make_betas({}));
  const Path path = vp_path(schedule);
  const Level noisy = path.at_ratio(1e4), clean = path.at_ratio(1e-4);
  EXPECT_EQ(noisy.t, 999);
  EXPECT_EQ(clean.t, 0);
  EXPECT_DOUBLE_EQ(noise_ratio(noisy), 1e4);
  EXPECT_DOUBLE_EQ(noise_ratio(clean), 1e-4);
  for (const double t : {-0.5, 999.5, std::nan("")})
    EXPECT_TRUE(testing::contains(testing::message_of([&] { path.at_time(t); }), "0..999"));
}

TEST(Path, EndsAtPureNoiseWithZeroTerminalSnr) {
  ProcessOptions options;
  options.rescale_betas_zero_snr = true;
  const Schedule schedule(make_betas(options));
  const Path path = vp_path(schedule);
  EXPECT_EQ(path.at_time(999).alpha, 0);
  EXPECT_EQ(path.at_ratio(kInfinite).alpha, 0);
  EXPECT_EQ(path.at_ratio(kInfinite).sigma, 1);
  EXPECT_EQ(path.at_ratio(kInfinite).t, 999);
  EXPECT_EQ(path.at_ratio(1e9).t, 998);
  const Level between = path.at_time(998.5), before = schedule.level(998);
  EXPECT_GT(noise_ratio(between), noise_ratio(before));
  EXPECT_NEAR(std::atan(noise_ratio(between)), (std::atan(noise_ratio(before)) + std::acos(0.)) / 2,
              1e-12);
}

TEST(Path, VarianceExplodingAndFlow) {
  const Level ve = ve_path().at_ratio(80);
  EXPECT_EQ(ve.alpha, 1);
  EXPECT_EQ(ve.sigma, 80);
  EXPECT_NEAR(ve.t, std::log(80.) / 4, 1e-15);
  expect_same(ve_path().at_time(ve.t), ve, 1e-12);
  const Level flow = flow_path().at_ratio(3);
  EXPECT_DOUBLE_EQ(flow.alpha, 0.25);
  EXPECT_DOUBLE_EQ(flow.sigma, 0.75);
  EXPECT_DOUBLE_EQ(flow.t, 750);
  expect_same(flow_path().at_time(750), flow, 1e-15);
  EXPECT_EQ(flow_path().at_ratio(kInfinite).sigma, 1);
}

}  // namespace tweedie

#include "tweedie/metrics/ode_bpd.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tests/support/level_mass.h"
#include "tests/support/verdict.h"
#include "tweedie/process/grid.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::level_mass;
using testing::message_of;

// 2x2 pictures in which every pixel takes each of the 256 levels once: 8 bits/dim.
class EveryLevel : public Dataset {
 public:
  int64_t size() const override { return 256; }
  Example get(int64_t i) const override {
    Example out{{2, 2, 1, std::vector<uint8_t>(4)}, -1};
    for (int k = 0; k < 4; ++k) out.image.pixels[k] = static_cast<uint8_t>(i * 37 + k * 11);
    return out;
  }
  std::pair<int, int> common_size() const override { return {2, 2}; }
  int common_channels() const override { return 1; }
  std::string describe() const override { return "every level"; }
};

Tensor levels() { return at::arange(256, at::kDouble) / 127.5 - 1; }

// E[x_0|x_t] where pixels are independent and every level is as likely, as eps.
LabelledNetwork exact(const Process& process) {
  return [&process](const Tensor& x, const Tensor& t, const Tensor&) {
    const Level at = path_of(process).at_time(t[0].item<double>());
    const Tensor off = x.to(at::kDouble).unsqueeze(-1) - at.alpha * levels();
    const Tensor share = (-off.square() / (2 * at.sigma * at.sigma)).softmax(-1);
    const Tensor eps = (x.to(at::kDouble) - at.alpha * (share * levels()).sum(-1)) / at.sigma;
    return eps.to(x.scalar_type());
  };
}

OdeBpd run(const OdeBpdOptions& options, int64_t batch = 64) {
  ProcessOptions o;
  o.clip_sample = false;
  const Process process(o);
  const VariationalBound bound(process.levels(1000), "fixed_small");
  LoaderOptions loader;
  loader.batch_size = batch, loader.height = loader.width = 2;
  return ode_bpd(exact(process), process, bound, std::make_shared<EveryLevel>(), loader, at::kCPU,
                 options);
}

// The mean over levels l and the offsets u of -log2 p(l + u), p the levels blurred by sigma.
double mean_bits(double sigma, const Tensor& offsets, const Tensor& weights) {
  const Tensor x = (levels().unsqueeze(1) + offsets).unsqueeze(-1);
  const Tensor each = (-(x - levels()).square() / (2 * sigma * sigma)).exp();
  const Tensor p = each.mean(-1) / (sigma * std::sqrt(2 * std::numbers::pi));
  return (-(p.log() / std::numbers::ln2) * weights).sum(1).mean().item<double>();
}

// log2 q(x|x_0) - log2 P(x_0|x) at x = x_0 + r z, P a Gaussian about E[x_0|x] on the level's bin:
// its mean over levels and z, and the standard deviation of one draw.
std::pair<double, double> decoder_share(double r, double deviation) {
  double weights = 0, sum = 0, squares = 0;
  for (double z = -7; z <= 7; z += 0.05)
    for (int p = 0; p < 256; ++p) {
      const double x = p / 127.5 - 1 + r * z;
      double all = 0, first = 0;
      for (int l = std::max(0, p - 30); l < std::min(256, p + 31); ++l) {  // 23 r to each side
        const double share = testing::normal(x, l / 127.5 - 1, r * r);
        all += share, first += share * (l / 127.5 - 1);
      }
      const double w = testing::normal(z, 0, 1);
      const double bits = std::log2(w / r) - std::log2(level_mass(p, first / all, deviation));
      weights += w, sum += w * bits, squares += w * bits * bits;
    }
  const double mean = sum / weights;
  return {mean, std::sqrt(squares / weights - mean * mean)};
}

}  // namespace

TEST(OdeBpd, UniformDequantisationIsTheBlurredDensityOverTheBins) {
  const OdeBpd found = run({.steps = 120, .dequantisation = "uniform"});
  const Tensor u = (at::arange(400, at::kDouble) + 0.5) / 400 - 0.5;
  const double density = mean_bits(found.sigma, u * kPixelWidth, at::full({400}, 1. / 400));
  EXPECT_NEAR(found.sigma, 0.01, 1e-4);
  EXPECT_NEAR(found.density, density, 0.01);
  EXPECT_NEAR(found.decoder, -std::log2(kPixelWidth), 1e-12);
  EXPECT_NEAR(found.total, 8, 0.05);
  EXPECT_EQ(found.images, 256);
  EXPECT_EQ(found.calls, 160);  // 4 for 3 steps
}

TEST(OdeBpd, VariationalDequantisationBoundsTheEntropy) {
  const OdeBpd found = run({.steps = 120});
  const Tensor z = at::linspace(-6, 6, 601, at::kDouble);
  const Tensor weights = (-z.square() / 2).exp() / (-z.square() / 2).exp().sum();
  EXPECT_NEAR(found.density, mean_bits(found.sigma, found.sigma * z, weights), 0.02);
  EXPECT_NEAR(found.total, found.density + found.decoder, 1e-12);
  // What is lost is the decoder's: a Gaussian with the variance of the step, not q(x_0|x_1).
  EXPECT_GT(found.total, 8 - 3 * found.image_stderr);
  EXPECT_LT(found.total, 8.5);
}

// The decoder's share hangs on no ODE, so that few steps will do and many seeds can be had.
// FPP Sec. 3.1 and DDPM Eq. 13
TEST(OdeBpd, TheDecodersShareIsThatOfTheBoundsDiscretisedGaussian) {
  const Schedule schedule = make_schedule({});
  const double r = noise_ratio(schedule.level(0));
  const double variance = posterior(schedule.level(1), schedule.level(0)).variance;
  const auto [share, spread] = decoder_share(r, std::sqrt(variance));
  const uint64_t seeds = 8;
  double found = 0;
  for (uint64_t seed = 0; seed < seeds; ++seed)
    found += run({.steps = 12, .seed = seed}).decoder / double(seeds);
  const double error = spread / std::sqrt(double(seeds) * 256 * 4);
  EXPECT_NEAR(found, share, 4 * error);
  EXPECT_GT(share - decoder_share(r, r).first, 8 * error);  // r^2 is not the fixed_small of step 1
}

TEST(OdeBpd, IsTheSameInBatchesOfAnySize) {
  const OdeBpd one = run({.images = 20, .steps = 12}, 20),
               three = run({.images = 20, .steps = 12}, 7);
  EXPECT_NEAR(one.total, three.total, 1e-6);
  EXPECT_NE(run({.images = 20, .steps = 12, .seed = 1}).total, one.total);
}

TEST(OdeBpd, RefusesAndStops) {
  EXPECT_TRUE(contains(message_of([] { run({.steps = 2}); }), "3..999"));
  EXPECT_TRUE(contains(message_of([] { run({.dequantisation = "unifrom"}); }), "uniform"));
  EXPECT_TRUE(contains(message_of([] { run({.dequantisation = "none"}); }), "8-bit"));
  EXPECT_TRUE(contains(message_of([] { run({.images = -1}); }), "-1"));
}

}  // namespace tweedie

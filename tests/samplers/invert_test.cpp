#include "tweedie/samplers/invert.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/samplers/ramp.h"
#include "tests/support/errors.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/process.h"

namespace tweedie {
namespace {

const Denoiser& denoise() {
  static const Denoiser mixture =
      mixture_denoiser({{0.3, 0.7},
                        at::tensor({-0.6, 0.2, 0.5, -0.1}, at::kDouble).view({2, 1, 1, 2}),
                        {0.04, 0.09}});
  return mixture;
}

Tensor images() {
  return at::tensor({0.4, -0.3, -0.7, 0.2, 0.5, -0.1}, at::kDouble).view({3, 1, 1, 2});
}

// How far ddim comes back to the image.
double round_trip(int64_t steps, int64_t iterations, const ProcessOptions& options = {}) {
  const Process process(options);
  const std::vector<Level> levels = process.levels(steps, "trailing");
  const Tensor noise = ddim_invert(denoise(), images(), levels, process.schedule().level(0),
                                   {.iterations = iterations});
  ReplayedNoise none({}, {});
  return (ddim(denoise(), noise, levels, {}, none) - images()).abs().max().item<double>();
}

}  // namespace

// DDIM Sec. 4.3
TEST(Invert, IteratedToItsFixedPointIsTheInverseOfDdim) {
  EXPECT_LT(round_trip(50, 200), 1e-11);
  EXPECT_LT(round_trip(10, 2000), 1e-9);
}

// In noise alone eps is x itself and says nothing; x_0 does.
TEST(Invert, BeginsInNoiseAlone) {
  ProcessOptions options;
  options.rescale_betas_zero_snr = true, options.prediction_type = "v_prediction";
  ASSERT_EQ(Process(options).levels(50, "trailing").front().alpha, 0);
  EXPECT_LT(round_trip(50, 200, options), 1e-11);
}

// The plain form is off by the step's size: half the steps, twice the error.
TEST(Invert, ThePlainFormComesNearAndNearerWithMoreSteps) {
  const double coarse = round_trip(100, 0), fine = round_trip(400, 0);
  EXPECT_LT(fine, 0.05);
  EXPECT_GT(coarse / fine, 2.5);
  EXPECT_LT(coarse / fine, 6.5);
}

// Data N(0.3, 0.25): the flow maps quantiles to quantiles, so the noise is known.
// DDIM Sec. 4.3
TEST(Invert, FindsTheNoiseThatTheFlowMapsToTheImage) {
  const Denoiser gaussian =
      mixture_denoiser({{1}, at::full({1, 1, 1, 1}, 0.3, at::kDouble), {0.25}});
  const Process process{ProcessOptions{}};
  const std::vector<Level> levels = process.levels(1000, "trailing");
  const Tensor found = ddim_invert(gaussian, scalar(0.9), levels, process.schedule().level(0), {});
  const Level end = levels.front();
  const double spread = std::sqrt(end.alpha * end.alpha * 0.25 + end.sigma * end.sigma);
  EXPECT_NEAR(found.item<double>(), end.alpha * 0.3 + spread * (0.9 - 0.3) / 0.5, 5e-3);
}

TEST(Invert, CountsItsCallsAndReportsItsSteps) {
  int64_t calls = 0, steps = 0;
  const Denoiser counted = [&](const Tensor& x, const Level&) {
    ++calls;
    return Estimate{x, at::zeros_like(x), {}};
  };
  const Process process{ProcessOptions{}};
  ddim_invert(counted, scalar(1), process.levels(7), process.schedule().level(0), {.iterations = 2},
              [&](int64_t step, int64_t total, const Tensor&, const Tensor&) {
                EXPECT_EQ(step, ++steps);
                EXPECT_EQ(total, 7);
              });
  EXPECT_EQ(calls, 7 * 3);
  EXPECT_EQ(steps, 7);
  EXPECT_TRUE(testing::contains(testing::message_of([&] {
                                  ddim_invert(counted, scalar(1), process.levels(7), {},
                                              {.iterations = -1});
                                }),
                                "-1"));
}

// DDIM Sec. 5.3
TEST(Slerp, KeepsTheLengthAndTurnsEvenly) {
  const Tensor a = at::tensor({3., 0., 0., 0.}, at::kDouble).view({1, 1, 2, 2});
  const Tensor b = at::tensor({0., 0., 3., 0.}, at::kDouble).view({1, 1, 2, 2});
  for (const double c : {0., 0.25, 0.5, 1.}) {
    const Tensor x = slerp(a, b, c).flatten();
    EXPECT_NEAR(x.norm().item<double>(), 3, 1e-12);
    EXPECT_NEAR(std::atan2(x[2].item<double>(), x[0].item<double>()), c * std::acos(-1) / 2, 1e-12);
  }
}

TEST(Slerp, IsLinearBetweenParallelsAndTurnsEachExampleByItself) {
  const Tensor a = at::tensor({1., 1., 1., 0.}, at::kDouble).view({2, 1, 1, 2});
  const Tensor b = at::tensor({3., 3., 0., 1.}, at::kDouble).view({2, 1, 1, 2});
  const Tensor x = slerp(a, b, 0.5);
  EXPECT_NEAR(x[0].flatten()[0].item<double>(), 2, 1e-12);
  EXPECT_NEAR(x[1].flatten()[0].item<double>(), std::sqrt(0.5), 1e-12);
}

}  // namespace tweedie

#include "tweedie/train/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tweedie/train/lr.h"

namespace tweedie {
namespace {

std::string message(const TrainOptions& options) {
  return testing::message_of([&] { validate(options); });
}

TrainOptions with_steps(int64_t steps) {
  TrainOptions options;
  options.steps = steps;
  return options;
}

}  // namespace

TEST(Budget, IsExactlyOneOfThree) {
  TrainOptions options;
  EXPECT_EQ(message(options),
            "[train] no budget: give exactly one of train.steps, train.images, train.minutes");
  options.steps = 5;
  EXPECT_EQ(message(options), "");
  options.minutes = 2.5;
  EXPECT_EQ(
      message(options),
      "[train] more than one budget: train.steps = 5 and train.minutes = 2.5; give exactly one");
}

TEST(Budget, InMinutesRefusesARateThatNeedsTheEnd) {
  TrainOptions options;
  options.minutes = 30;
  options.lr_schedule = "cosine";
  EXPECT_NE(message(options).find("train.lr_schedule = cosine needs train.steps or train.images"),
            std::string::npos);
}

TEST(Budget, InImagesIsRoundedUpToWholeSteps) {
  TrainOptions options;
  options.batch_size = 10;
  options.accumulate = 3;
  options.images = 90;
  EXPECT_EQ(total_steps(options), 3);
  options.images = 91;
  EXPECT_EQ(total_steps(options), 4);
  options.images.reset();
  options.minutes = 1;
  EXPECT_EQ(total_steps(options), std::nullopt);
}

TEST(LearningRate, RisesLinearlyAndStaysConstant) {
  TrainOptions options = with_steps(100);
  options.warmup_steps = 4;
  options.learning_rate = 8e-4;
  EXPECT_DOUBLE_EQ(learning_rate(options, 0, total_steps(options)), 2e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 2, total_steps(options)), 6e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 3, total_steps(options)), 8e-4);
  EXPECT_DOUBLE_EQ(learning_rate(options, 99, total_steps(options)), 8e-4);
  options.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(options, 0, total_steps(options)), 8e-4);
}

// SGDR Eq. 5
TEST(LearningRate, FallsAsACosineToZeroAtTheEnd) {
  TrainOptions options = with_steps(110);
  options.warmup_steps = 10;
  options.learning_rate = 1;
  options.lr_schedule = "cosine";
  EXPECT_DOUBLE_EQ(learning_rate(options, 10, total_steps(options)), 1);
  EXPECT_NEAR(learning_rate(options, 60, total_steps(options)), 0.5, 1e-12);  // half of the way
  EXPECT_NEAR(learning_rate(options, 35, total_steps(options)), 0.5 + std::numbers::sqrt2 / 4,
              1e-12);
  EXPECT_NEAR(learning_rate(options, 110, total_steps(options)), 0, 1e-12);
  EXPECT_GT(learning_rate(options, 109, total_steps(options)), 0);
  // The same budget in images gives the same rate.
  TrainOptions images = options;
  images.steps.reset();
  images.images = 110 * images.images_per_step() - 5;
  EXPECT_DOUBLE_EQ(learning_rate(images, 77, total_steps(images)),
                   learning_rate(options, 77, total_steps(options)));
}

TEST(TrainOptions, EveryFieldGoesThroughJsonAndBack) {
  TrainOptions options = with_steps(7);
  options.ema_warmup = false;
  options.precision = "bf16";
  TrainOptions back;
  from_json(to_json(options), back);
  EXPECT_EQ(to_json(back), to_json(options));
}

}  // namespace tweedie

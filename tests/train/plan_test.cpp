#include "tweedie/train/plan.h"

#include <gtest/gtest.h>

#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

UNetOptions fashion_small() {
  UNetOptions model;
  model.in_channels = model.out_channels = 1;
  model.num_class_embeds = 11;
  model.block_out_channels = {32, 64, 64};
  model.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D"};
  model.up_block_types = {"UpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  return model;
}

TrainPlan plan(const TrainOptions& train) {
  return plan_training(train, *UNet(fashion_small()), 60'000, 28, 28, "runs/x");
}

}  // namespace

TEST(TrainPlan, CountsStepsImagesAndEpochs) {
  TrainOptions train;
  train.images = 300'000;
  train.accumulate = 2;
  const TrainPlan p = plan(train);
  EXPECT_EQ(p.steps, 1172);  // 1171.9
  EXPECT_EQ(p.images, 1172 * 256);
  EXPECT_NEAR(*p.epochs, 5.0005, 1e-3);
  train.images.reset();
  train.minutes = 30;
  EXPECT_EQ(plan(train).steps, std::nullopt);
  EXPECT_EQ(plan(train).images, std::nullopt);
}

TEST(TrainPlan, MemoryIsNearWhatWasMeasured) {
  TrainOptions train;
  train.steps = 1;
  const TrainPlan p = plan(train);
  // Weights, gradients, two moments and the mean: five float32 a parameter.
  EXPECT_EQ(p.weight_bytes, 20 * 1'624'577);
  // Peak resident size of such a training at batch 128 above that of the idle program, on a CPU.
  const double measured = 1.5e9;
  EXPECT_GT(double(p.memory_bytes()), measured / 1.4);
  EXPECT_LT(double(p.memory_bytes()), measured * 1.4);
  train.batch_size = 256;
  EXPECT_EQ(plan(train).activation_bytes, 2 * p.activation_bytes);
  train.accumulate = 4;
  EXPECT_EQ(plan(train).activation_bytes, 2 * p.activation_bytes);
}

TEST(TrainPlan, SaysItInLines) {
  TrainOptions train;
  train.steps = 100;
  const std::vector<std::string> lines = plan(train).lines();
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], "network: 1624577 parameters, 28x28x1");
  EXPECT_NE(lines[1].find("30 MiB for weights"), std::string::npos) << lines[1];
  EXPECT_EQ(lines[2], "budget: 100 steps, 12800 images, 0.2 epochs of 60000; batch 128, fp32");
  EXPECT_EQ(lines[3], "writes to runs/x");
}

}  // namespace tweedie

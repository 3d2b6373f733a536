#include "tweedie/pipeline/profile.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/nn/layer_list.h"
#include "tweedie/pipeline/generate.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::make_model;
using testing::Scratch;

const ProfileRow& row(const ProfileReport& report, const std::string& kind) {
  return *std::ranges::find(report.rows, kind, &ProfileRow::kind);
}

class ProfileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    make_model(scratch / "m");
    model = load_model(scratch / "m");
    at::set_num_threads(1);
  }
  ProfileReport sample(int64_t n, int64_t steps) {
    const GenerateRequest request{.n = n, .batch = n, .steps = steps};
    const Plan planned = plan(model, request);
    Profile profile;
    generate(model, request, planned,
             {.images = [](int64_t, const at::Tensor&) {},
              .progress = [&](const Progress&) { profile.step(); }});
    return profile.report();
  }
  // Forward, of one image.
  double network_flop(bool is_3x3) {
    double sum = 0;
    for (const ConvLayer& layer : layers_of(model.net, 8, 8).convolutions)
      if (layer.is_planned() == is_3x3) sum += layer.flop();
    return sum;
  }
  Scratch scratch;
  Model model;
};

}  // namespace

TEST_F(ProfileTest, SamplingIsAccountedForCompletely) {
  const ProfileReport report = sample(4, 11);
  EXPECT_EQ(report.steps, 10) << "all but the first";
  EXPECT_EQ(report.threads, 1);
  EXPECT_GT(report.peak, 1e8);
  double seconds = 0;
  for (const ProfileRow& r : report.rows) seconds += r.seconds;
  EXPECT_NEAR(seconds, report.seconds, 1e-9);
  EXPECT_GT(report.kernel_seconds(), 0);
  EXPECT_LT(report.kernel_seconds(), report.seconds);
  EXPECT_NEAR(row(report, "3x3 convolution").flop, 10 * 4 * network_flop(true), 1);
  EXPECT_NEAR(row(report, "other convolution").flop, 10 * 4 * network_flop(false), 1);
  double attention = 0;
  for (const AttentionLayer& layer : layers_of(model.net, 8, 8).attentions)
    attention += layer.flop();
  EXPECT_NEAR(row(report, "attention").flop, 10 * 4 * attention, 1);
  for (const char* kind : {"normalisation", "linear", "sampler arithmetic"})
    EXPECT_GT(row(report, kind).seconds, 0) << kind;
  EXPECT_EQ(row(report, "optimiser").seconds, 0);
}

TEST_F(ProfileTest, SamplingDoesNotGrowAfterItsSecondStep) {
  const ProfileReport report = sample(16, 22);
  EXPECT_EQ(report.growth, 0) << "bytes in tensors";
  EXPECT_GT(report.allocations, 10);
  EXPECT_GT(report.allocated_bytes, 1e5);
  EXPECT_GT(report.resident_early, 0);
#ifndef TWEEDIE_SANITIZED  // which keeps freed memory for a while
  EXPECT_LT(report.resident_last - report.resident_early, int64_t{1} << 20);
#endif
}

TEST_F(ProfileTest, OneStepIsTheWarmUp) {
  const ProfileReport report = sample(1, 1);
  EXPECT_EQ(report.steps, 0);
  ASSERT_EQ(report.lines().size(), 1u);
  EXPECT_TRUE(contains(report.lines().front(), "warm-up"));
}

TEST_F(ProfileTest, ATableAndJsonSayTheSame) {
  const ProfileReport report = sample(2, 4);
  const std::vector<std::string> lines = report.lines();
  const std::string text = formatted("{}", fmt::join(lines, "\n"));
  for (const char* words : {"3 steps", "3x3 convolution", "in the kernels", "allocations"})
    EXPECT_TRUE(contains(text, words)) << words << "\n" << text;
  EXPECT_FALSE(contains(text, "optimiser")) << "what did not happen has no row";
  const Json json = report.json();
  EXPECT_EQ(json["steps"], 3);
  EXPECT_EQ(json["kinds"].size(), report.rows.size());
  EXPECT_EQ(json["kinds"][0]["kind"], "3x3 convolution");
  EXPECT_EQ(json["kinds"][0]["flop"], report.rows[0].flop);
}

// The backward pass of a layer counts to the layer: two products for each of the forward pass, but
// for the image itself, whose gradient nobody asked for.
TEST_F(ProfileTest, TheBackwardPassIsOfTheSameKinds) {
  model.net->train();
  const at::Tensor x = at::ones({2, 1, 8, 8}), t = at::zeros({1});
  Profile profile;
  for (int step = 0; step < 3; ++step) {
    model.net->forward(x, t).sum().backward();
    profile.step();
  }
  const ProfileReport report = profile.report();
  const double first = layers_of(model.net, 8, 8).convolutions.front().flop();
  EXPECT_NEAR(row(report, "3x3 convolution").flop, 2 * 2 * (3 * network_flop(true) - first), 1);
  EXPECT_NEAR(row(report, "other convolution").flop, 2 * 2 * 3 * network_flop(false), 1);
}

TEST_F(ProfileTest, WhatIsOnTheSideIsNoPartOfTheKinds) {
  Profile profile;
  for (int step = 0; step < 3; ++step) {
    profile.step();
    RECORD_USER_SCOPE("tweedie::aside");
    const at::NoGradGuard no_grad;
    model.net->forward(at::ones({2, 1, 8, 8}), at::zeros({1}));
  }
  const ProfileReport report = profile.report();
  EXPECT_EQ(row(report, "3x3 convolution").seconds, 0);
  EXPECT_GT(row(report, "between steps").seconds, 0);
  EXPECT_EQ(report.allocations, 0);
}

TEST_F(ProfileTest, OtherThreadsAreNotWatched) {
  Profile profile;
  profile.step();
  std::thread([] { at::mm(at::ones({64, 64}), at::ones({64, 64})); }).join();
  profile.step();
  EXPECT_EQ(row(profile.report(), "linear").flop, 0);
}

TEST(Profile, LeavesNoObserver) {
  { Profile profile; }
  EXPECT_FALSE(at::hasCallbacks());
  { Profile again; }
  EXPECT_FALSE(at::hasCallbacks());
}

}  // namespace tweedie

// --profile, --tune and info --plan.
#include <gtest/gtest.h>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/files.h"

namespace tweedie::testing {
namespace {

class ProfileCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    make_model(scratch / "m");
    write_file(scratch / "config.json", R"({
      "data": {"source": "shapes:8"},
      "model": {"block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1,
                "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
                "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]},
      "train": {"steps": 4, "batch_size": 2, "preview_every": 0, "eval_images": 4}})");
  }
  Outcome tweedie(const std::string& args) { return run(args, scratch.path()); }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
  Scratch scratch;
};

TEST_F(ProfileCommand, InfoShowsThePlanOfEveryConvolution) {
  const Outcome table = tweedie("info m --plan");
  ASSERT_EQ(table.code, 0) << table.err;
  for (const char* words : {"conv_in", "down_blocks.1.attentions.0", "1x1 product", "stride 2",
                            "stock direct", "MFLOP", "8x8"})
    EXPECT_TRUE(has(table.out, words)) << words << "\n" << table.out;
  const Outcome outcome = tweedie("info m --plan --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["height"], 8);
  EXPECT_NE(json["instruction_set"], "");
  double flop = 0;
  for (const char* list : {"convolutions", "attentions"})
    for (const Json& layer : json[list]) flop += layer["flop"].get<double>();
  EXPECT_EQ(json["flop"], flop);
}

TEST_F(ProfileCommand, SampleTunesAndSaysWhereTheTimeWent) {
  const Outcome outcome = tweedie("sample m --n 2 --steps 5 --out g.png --profile --tune --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* words : {"tuned", "profile of 4 steps", "3x3 convolution", "in the kernels"})
    EXPECT_TRUE(has(outcome.err, words)) << words << "\n" << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["profile"]["steps"], 4);
  EXPECT_EQ(json["profile"]["growth_bytes"], 0);
  EXPECT_EQ(json["plan"]["measured"], true);
  const Outcome quiet = tweedie("sample m --n 2 --steps 5 --out h.png --profile --tune --quiet");
  EXPECT_EQ(quiet.err, "");
}

TEST_F(ProfileCommand, TrainTunesProfilesAndResumesWithThePlan) {
  const Outcome outcome = tweedie("train config.json --out r --profile --tune --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* words : {"tuned", "profile of 3 steps", "optimiser", "data and noise"})
    EXPECT_TRUE(has(outcome.err, words)) << words << "\n" << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["profile"]["steps"], 3);
  EXPECT_EQ(json["plan"]["measured"], true);
  const Outcome checkpoint = tweedie("info r/checkpoints/step_4");
  EXPECT_TRUE(has(checkpoint.out, "measured")) << checkpoint.out;
  const Outcome resumed = tweedie("train --out r --resume --steps 6");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_FALSE(has(resumed.err, "tuned")) << resumed.err;
  EXPECT_FALSE(has(resumed.err, "profile")) << resumed.err;
  EXPECT_EQ(Json::parse(tweedie("info r/checkpoints/step_6 --json").out)["plan"], json["plan"]);
}

}  // namespace
}  // namespace tweedie::testing

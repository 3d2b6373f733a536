// tweedie invert and tweedie interpolate.
#include <gtest/gtest.h>

#include <filesystem>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/image.h"
#include "tweedie/io/safetensors.h"

namespace tweedie::testing {
namespace {

class Invert : public ::testing::Test {
 protected:
  void SetUp() override {
    make_model(scratch / "m");
    make_model(scratch / "classes", 3);
    for (const char* name : {"a.png", "b.png"})
      write_image(scratch / name, {8, 8, 1, std::vector<uint8_t>(64, name[0] == 'a' ? 40 : 200)});
  }
  Outcome tweedie(const std::string& args) { return run(args, scratch.path()); }
  void refuses(const std::string& args, const std::vector<std::string>& words) {
    const Outcome outcome = tweedie(args);
    EXPECT_EQ(outcome.code, 2) << args << outcome.err;
    EXPECT_EQ(outcome.lines().size(), 1u) << args << "\n" << outcome.err;
    for (const std::string& word : words)
      EXPECT_NE(outcome.err.find(word), std::string::npos) << args << "\n" << outcome.err;
  }
  Scratch scratch;
};

// The network is untrained, so its field is gentle: 40 iterations a step invert it.
TEST_F(Invert, TheNoiseDrawsTheImagesAgainThroughSample) {
  const Outcome outcome = tweedie(
      "invert m a.png b.png --out x.safetensors --steps 10 --iterations 40 "
      "--spacing trailing --back back.png --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_LT(json["rmse"].get<double>(), 1e-3);
  const Outcome again = tweedie(
      "sample m --n 2 --noise x.safetensors --sampler ddim --steps 10 --spacing trailing "
      "--no-clip --out again --quiet");
  ASSERT_EQ(again.code, 0) << again.err;
  for (const char* name : {"000000.png", "000001.png"}) {
    const Image found = read_image(scratch / "again" / name);
    const int expected = std::string(name) == "000000.png" ? 40 : 200;
    for (const uint8_t pixel : found.pixels) EXPECT_NEAR(pixel, expected, 1);
  }
  EXPECT_EQ(read_image(scratch / "back.png").width, 8 + 2 + 8);
}

TEST_F(Invert, InterpolatesBetweenSeedsAndBetweenImages) {
  const Outcome seeds =
      tweedie("interpolate m --seeds 1,2 --n 5 --steps 5 --out strip.png --animate way.webp");
  ASSERT_EQ(seeds.code, 0) << seeds.err;
  EXPECT_EQ(read_image(scratch / "strip.png").width, 5 * 8 + 4 * 2);
  EXPECT_TRUE(std::filesystem::exists(scratch / "way.webp"));
  // Its ends are what the seeds draw.
  const Outcome one =
      tweedie("sample m --n 1 --seed 2 --sampler ddim --steps 5 --no-clip --out two.png");
  ASSERT_EQ(one.code, 0) << one.err;
  const Image strip = read_image(scratch / "strip.png"), two = read_image(scratch / "two.png");
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      EXPECT_NEAR(strip.pixels[y * strip.width + 40 + x], two.pixels[y * 8 + x], 1);
  const Outcome images =
      tweedie("interpolate classes a.png b.png --n 3 --steps 5 --class kind1 --out pair.png");
  ASSERT_EQ(images.code, 0) << images.err;
  EXPECT_EQ(read_image(scratch / "pair.png").width, 3 * 8 + 2 * 2);
}

TEST_F(Invert, RefusesWhatDoesNotFit) {
  refuses("invert m nowhere.png --out x.safetensors", {"nowhere.png"});
  refuses("invert m a.png --out x.safetensors --steps 0", {"0", "1..1000"});
  refuses("invert m a.png --out x.safetensors --class 1", {"unconditional"});
  refuses("invert m a.png --out x.safetensors --iterations -1", {"--iterations"});
  refuses("invert m a.png --out x.safetensors --back b.txt", {"b.txt"});
  refuses("interpolate m --out s.png", {"--seeds"});
  refuses("interpolate m a.png --out s.png", {"1 images", "two"});
  refuses("interpolate m a.png b.png --seeds 1,2 --out s.png", {"--seeds"});
  refuses("interpolate m --seeds 1 --out s.png", {"two"});
  refuses("interpolate m --seeds 1,2 --out s.txt", {"s.txt"});
  refuses("interpolate classes --seeds 1,2 --class kind9 --out s.png", {"kind9", "kind1"});
}

}  // namespace
}  // namespace tweedie::testing

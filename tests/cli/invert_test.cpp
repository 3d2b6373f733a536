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
    testing::expect_mistake(args, words, scratch.path());
  }
  Scratch scratch;
};

// A trained model: on random weights a step at the noisy end has no fixed point.
TEST_F(Invert, TheNoiseDrawsTheImagesAgainThroughSample) {
  ASSERT_EQ(tweedie("sample fashion --n 2 --steps 10 --out first --quiet").code, 0);
  const std::string invert =
      "invert fashion first/000000.png first/000001.png --class none --json ";
  const Outcome plain = tweedie(invert + "--out plain.safetensors --back plain.png");
  const Outcome outcome = tweedie(invert + "--out x.safetensors --iterations 10 --back back.png");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["model"], "fashion");
  EXPECT_EQ(json["steps"], 50);
  EXPECT_EQ(json["spacing"], "leading");
  EXPECT_EQ(json["class"], "none");
  EXPECT_EQ(json["iterations"], 10);
  const double rmse = json["rmse"];
  EXPECT_LT(rmse, 1e-3);
  EXPECT_LT(rmse, Json::parse(plain.out)["rmse"].get<double>() / 10);
  const Outcome again = tweedie(
      "sample fashion --class none --noise x.safetensors --sampler ddim --steps 50 --no-clip "
      "--out again --quiet");
  ASSERT_EQ(again.code, 0) << again.err;
  for (const std::string name : {"000000.png", "000001.png"}) {
    const Image first = read_image(scratch / ("first/" + name));
    const Image found = read_image(scratch / ("again/" + name));
    ASSERT_EQ(found.pixels.size(), first.pixels.size());
    for (size_t i = 0; i < found.pixels.size(); ++i)
      EXPECT_NEAR(found.pixels[i], first.pixels[i], 1);
  }
  EXPECT_EQ(read_image(scratch / "back.png").width, 2 + 2 * (28 + 2));
}

TEST_F(Invert, TellsTheCommandThatDrawsTheImagesAgain) {
  const Outcome outcome = tweedie(
      "invert classes a.png b.png --steps 5 --spacing trailing --class kind1,none "
      "--out x.safetensors --back back.png");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string mark = "drawn again by: tweedie ";
  const size_t from = outcome.out.find(mark);
  ASSERT_NE(from, std::string::npos) << outcome.out;
  std::string command = outcome.out.substr(from + mark.size());
  command.resize(command.find('\n'));
  const Outcome drawn = tweedie(command + " --columns 2 --out again.png --quiet");
  ASSERT_EQ(drawn.code, 0) << command << "\n" << drawn.err;
  const Image back = read_image(scratch / "back.png"), again = read_image(scratch / "again.png");
  ASSERT_EQ(again.width, back.width);
  for (int y = 2; y < 10; ++y)  // the row below that of the images
    for (int x = 0; x < again.width; ++x)
      EXPECT_NEAR(again.pixels[y * again.width + x], back.pixels[(y + 10) * back.width + x], 1);
  EXPECT_NE(tweedie("invert --help").out.find("--sampler ddim"), std::string::npos);
}

TEST_F(Invert, InterpolatesBetweenSeedsAndBetweenImages) {
  const Outcome seeds = tweedie(
      "interpolate m --seeds 1,2 --n 5 --steps 5 --out strip.png --animate way.webp --json");
  ASSERT_EQ(seeds.code, 0) << seeds.err;
  const Json of_seeds = Json::parse(seeds.out);
  EXPECT_EQ(of_seeds["model"], "m");
  EXPECT_EQ(of_seeds["n"], 5);
  EXPECT_EQ(of_seeds["steps"], 5);
  EXPECT_EQ(of_seeds["seeds"], Json::array({1, 2}));
  EXPECT_FALSE(of_seeds.contains("class"));
  EXPECT_EQ(of_seeds["files"], Json::array({"strip.png", "way.webp"}));
  EXPECT_EQ(read_image(scratch / "strip.png").width, 2 + 5 * (8 + 2));
  EXPECT_TRUE(std::filesystem::exists(scratch / "way.webp"));
  // Its ends are what the seeds draw.
  const Outcome one =
      tweedie("sample m --n 1 --seed 2 --sampler ddim --steps 5 --no-clip --out two.png");
  ASSERT_EQ(one.code, 0) << one.err;
  const Image strip = read_image(scratch / "strip.png"), two = read_image(scratch / "two.png");
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      EXPECT_NEAR(strip.pixels[(2 + y) * strip.width + 42 + x],
                  two.pixels[(2 + y) * two.width + 2 + x], 1);
  const Outcome images = tweedie(
      "interpolate classes a.png b.png --n 3 --steps 5 --class kind1 --out pair.png --json");
  ASSERT_EQ(images.code, 0) << images.err;
  EXPECT_EQ(Json::parse(images.out)["class"], "kind1");
  EXPECT_FALSE(Json::parse(images.out).contains("seeds"));
  EXPECT_EQ(read_image(scratch / "pair.png").width, 2 + 3 * (8 + 2));
}

TEST_F(Invert, ARespacingSaysHowManySteps) {
  const Outcome outcome = tweedie("invert m a.png --out x.safetensors --spacing 4,6 --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["steps"], 10);
}

TEST_F(Invert, RefusesWhatDoesNotFit) {
  refuses("invert m nowhere.png --out x.safetensors", {"nowhere.png"});
  refuses("invert m a.png --out x.safetensors --steps 0", {"0", "1..1000"});
  refuses("invert m a.png --out x.safetensors --class 1", {"unconditional"});
  refuses("invert m a.png --out x.safetensors --iterations -1", {"--iterations"});
  refuses("invert m a.png --out x.safetensors --back b.txt", {"b.txt"});
  refuses("invert m a.png --out x.png", {"--out x.png", ".safetensors"});
  refuses("interpolate m --seeds 1,2 --out s.png --animate ./s.png", {"s.png", "--animate"});
  refuses("interpolate m --seeds -1,2 --out s.png", {"--seeds", "-1"});
  refuses("interpolate m --seeds 1,2 --iterations 3 --out s.png", {"--iterations 3", "--seeds"});
  refuses("interpolate m --out s.png", {"--seeds"});
  refuses("interpolate m a.png --out s.png", {"1 images", "two"});
  refuses("interpolate m a.png b.png --seeds 1,2 --out s.png", {"--seeds"});
  refuses("interpolate m --seeds 1 --out s.png", {"two"});
  refuses("interpolate m --seeds 1,2 --out s.txt", {"s.txt"});
  refuses("interpolate classes --seeds 1,2 --class kind9 --out s.png", {"kind9", "kind1"});
}

}  // namespace
}  // namespace tweedie::testing

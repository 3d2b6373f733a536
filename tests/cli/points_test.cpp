// Points through the same verbs as images.
#include <gtest/gtest.h>

#include <filesystem>

#include "run.h"
#include "tests/support/scratch.h"
#include "tweedie/core/options.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"

namespace tweedie::testing {
namespace {

// A model of a few steps, made once.
class Points : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch = new Scratch;
    const Outcome outcome = run(
        "train --data points:moons --steps 30 --out m --set model.type=mlp --set model.width=16 "
        "--set train.batch_size=32 --set train.preview_every=0",
        scratch->path());
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
  static void TearDownTestSuite() { delete scratch; }

  Outcome tweedie(const std::string& args) { return run(args, scratch->path()); }
  void works(const std::string& args, const std::vector<std::string>& words = {}) {
    const Outcome outcome = tweedie(args);
    EXPECT_EQ(outcome.code, 0) << args << outcome.err;
    for (const std::string& word : words)
      EXPECT_NE(outcome.out.find(word), std::string::npos) << args << "\n" << outcome.out;
  }
  void refuses(const std::string& args, const std::vector<std::string>& words) {
    testing::expect_mistake(args, words, scratch->path());
  }
  static Scratch* scratch;
};
Scratch* Points::scratch = nullptr;

TEST_F(Points, AreListedAndShown) {
  works("list data", {"points:NAME", "points:FILE.csv"});
  works("list keys", {"model.type", "model.width", "model.block_out_channels"});
  works("info points:rings --out rings.png", {"rings@all: 60000 points (x, y), 3 classes"});
  EXPECT_EQ(read_image(*scratch / "rings.png").channels, 3);
  works("info points:moons --out moons.svg");
  works("info m", {"TweedieMLP, 3 layers of 16", "points (x, y)"});
  works("info m --plan", {"0 convolutions"});
}

TEST_F(Points, AreDrawnAsPictureNumbersAndFlow) {
  works("sample m --n 50 --steps 5 --out s.png --animate s.webp --density d.png --save-tensor t.st",
        {"wrote s.png", "wrote s.webp", "wrote t.st", "wrote d.png"});
  works("sample m --n 50 --steps 5 --out s.csv", {"wrote s.csv"});
  const std::string text = read_file(*scratch / "s.csv");
  EXPECT_EQ(text.substr(0, 4), "x,y\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 51);
  works("sample m --n 50 --steps 5 --out again.csv --batch 7");
  works("info points:s.csv", {"50 points"});
}

TEST_F(Points, AreEvaluatedByTheirDensity) {
  const Outcome outcome =
      tweedie("evaluate m --data points:moons --n 200 --t-per-image 4 --batch 200 --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_NE(json["bpd_method"].get<std::string>().find("continuous Gaussian decoder"),
            std::string::npos);
  EXPECT_EQ(json["n"], 200);
  EXPECT_GT(json["bpd"], 0);
}

TEST_F(Points, WhatIsOfImagesAloneIsRefused) {
  refuses("interpolate m --seeds 1,2 --out p.png", {"interpolate", "model of points"});
  refuses("invert m p.png --out p.safetensors", {"invert", "model of points"});
  refuses("sample m --every 2", {"--every", "model of points"});
  refuses("sample m --compare ddim:5", {"--compare"});
  refuses("sample m --out s.gif", {".gif", ".csv"});
  refuses("sample m --animate s.gif", {".gif"});
  refuses("sample fashion --density d.png", {"--density", "is of images"});
  refuses("plot noising m --out p.png", {"model of points"});
  refuses("plot noising fashion --data points:moons --out p.png", {"expected images"});
  refuses("evaluate m --data shapes:8", {"model of points"});
  refuses("evaluate fashion --data points:moons", {"model of images"});
  refuses("train --data points:moons --steps 3 --out r --set process.clip_sample=true",
          {"clip_sample"});
  refuses("train fashion-small --data points:moons --out r", {"mlp"});
  refuses("train --data points:mons --steps 3 --out r", {"did you mean moons?"});
  refuses("train --data points:moons --steps 3 --out r --set model.widht=3",
          {"did you mean model.width?"});
  refuses("info points:none.csv", {"no such file"});
  EXPECT_FALSE(std::filesystem::exists(*scratch / "r"));
}

}  // namespace
}  // namespace tweedie::testing

// What `tweedie sample` writes and says.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"
#include "tweedie/io/safetensors.h"

namespace fs = std::filesystem;

namespace tweedie::testing {
namespace {

class SampleCommand : public ::testing::Test {
 protected:
  void SetUp() override { make_model(scratch / "m", 3); }
  Outcome tweedie(const std::string& args) { return run(args, scratch.path()); }
  /// Names in the scratch folder, temporary files included.
  size_t entries() const {
    return std::distance(fs::directory_iterator(scratch.path()), fs::directory_iterator());
  }
  Scratch scratch;
};

TEST_F(SampleCommand, WritesAGridThatSaysHowItWasMade) {
  const Outcome outcome = tweedie("sample m --n 6 --seed 4 --steps 3 --out g.png --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["n"], 6);
  EXPECT_EQ(json["seed"], 4);
  EXPECT_EQ(json["sampler"], "ddim");
  EXPECT_EQ(json["steps"], 3);
  EXPECT_EQ(json["nfe"], 3);
  EXPECT_EQ(json["files"], Json::array({"g.png"}));
  const Image grid = read_image(scratch / "g.png");
  EXPECT_EQ(grid.width, 3 * 8 + 4 * 2) << "a column a class";
  EXPECT_EQ(grid.height, 2 * 8 + 3 * 2);
  bool told = false;
  for (const auto& [key, value] : read_png_text(scratch / "g.png")) {
    if (key != "tweedie") continue;
    const Json text = Json::parse(value);
    EXPECT_EQ(text["model"], "m");
    EXPECT_EQ(text["seed"], 4);
    EXPECT_EQ(text["steps"], 3);
    told = true;
  }
  EXPECT_TRUE(told);
}

TEST_F(SampleCommand, WritesAFolderAStripAnAnimationAndTensors) {
  const Outcome outcome = tweedie(
      "sample m --n 5 --batch 2 --steps 4 --every 2 --out d --animate a.webp --save-tensor "
      "t.safetensors");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(read_image(scratch / formatted("d/{:06}.png", i)).width, 8);
  const Image strip = read_image(scratch / "d/way.png");
  EXPECT_EQ(strip.width, 3 * 8 + 4 * 2) << "noise, step 2, step 4";
  EXPECT_EQ(strip.height, 5 * 8 + 6 * 2);
  EXPECT_GT(fs::file_size(scratch / "a.webp"), 100u);
  const TensorMap tensors = read_safetensors(scratch / "t.safetensors");
  EXPECT_EQ(tensors.at("samples").sizes(), (std::vector<int64_t>{5, 1, 8, 8}));
  EXPECT_TRUE(at::equal(tensors.at("samples"), tensors.at("raw").clamp(-1, 1)));
}

TEST_F(SampleCommand, ComparesSamplersOnTheSameSeeds) {
  const Outcome outcome = tweedie(
      "sample m --n 3 --seed 4 --class 1 --compare ddim:4,unipc:3,heun --scheduler-rules diffusers "
      "--out c.png --json --quiet");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  ASSERT_EQ(json["compare"].size(), 3u);
  EXPECT_EQ(json["compare"][0]["sampler"], "ddim");
  EXPECT_EQ(json["compare"][1]["nfe"], 3);
  EXPECT_EQ(json["compare"][2]["nfe"], 99) << "50 steps unless said, two calls each but the last";
  for (const Json& one : json["compare"]) {
    EXPECT_EQ(one["scheduler_rules"], "diffusers");
    EXPECT_GT(one["seconds"], 0);
  }
  EXPECT_EQ(json["files"], Json::array({"c.png"}));
  const Image picture = read_image(scratch / "c.png");
  EXPECT_GT(picture.width, 3 * 8 + 4 * 2 + 40) << "three images, and the label";
  EXPECT_GE(picture.height, 3 * 40) << "three rows as high as their labels";
  // Dark words on white to the left of the first row.
  uint8_t darkest = 255;
  for (int y = 0; y < 40; ++y)
    for (int x = 0; x < 40; ++x)
      darkest = std::min(darkest, picture.pixels[static_cast<size_t>(y * picture.width + x)]);
  EXPECT_LT(darkest, 128);
}

TEST_F(SampleCommand, TheRulesAreRecorded) {
  const auto json = [&](const std::string& flags) {
    const Outcome outcome = tweedie("sample m --n 1 --force --json --quiet " + flags);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  EXPECT_EQ(json("--steps 2")["scheduler_rules"], "paper");
  const Json unipc = json("--sampler unipc --order 3 --steps 5 --scheduler-rules diffusers");
  EXPECT_EQ(unipc["scheduler_rules"], "diffusers");
  EXPECT_EQ(unipc["order"], 3);
  EXPECT_EQ(unipc["spacing"], "leading");
  EXPECT_EQ(json("--spacing 2,3")["steps"], 5);
  EXPECT_EQ(json("--timesteps 999,500,0")["timesteps"], Json::array({999, 500, 0}));
  bool told = false;
  for (const auto& [key, value] : read_png_text(scratch / "samples.png"))
    told |= key == "tweedie" && Json::parse(value)["scheduler_rules"] == "paper";
  EXPECT_TRUE(told);
}

TEST_F(SampleCommand, RunsThatDifferDifferInTheirJson) {
  write_safetensors(scratch / "a.safetensors", {{"init", at::zeros({1, 1, 8, 8})}});
  fs::copy(scratch / "a.safetensors", scratch / "b.safetensors");
  std::set<std::string> seen;
  for (const std::string flags :
       {"", "--no-clip", "--dynamic-threshold 0.9", "--dynamic-threshold 0.95", "--steps-offset 1",
        "--spacing karras", "--spacing karras --rho 5", "--spacing karras --sigma-max 12",
        "--spacing karras --sigma-min 0.03", "--class 1", "--class none", "--seed 1",
        "--noise a.safetensors", "--noise b.safetensors"}) {
    const Outcome outcome = tweedie("sample m --n 1 --steps 2 --force --json --quiet " + flags);
    ASSERT_EQ(outcome.code, 0) << flags << "\n" << outcome.err;
    Json json = Json::parse(outcome.out);
    json.erase("seconds");
    EXPECT_TRUE(seen.insert(json.dump()).second) << flags << "\n" << outcome.out;
  }
}

TEST_F(SampleCommand, TheNoiseDecidesHowManyUnlessNIsSaid) {
  write_safetensors(scratch / "noise.safetensors", {{"init", at::randn({3, 1, 8, 8})}});
  const Outcome outcome = tweedie(
      "sample m --noise noise.safetensors --class 1 --steps 2 --save-tensor t.safetensors --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["n"], 3);
  EXPECT_EQ(read_safetensors(scratch / "t.safetensors").at("raw").size(0), 3);
  testing::expect_mistake("sample m --n 2 --noise noise.safetensors --out n.png",
                          {"[3,1,8,8]", "[2,1,8,8]"}, scratch.path());
}

TEST_F(SampleCommand, AMissingLearnedVarianceIsFoundBeforeEarlierPicturesGo) {
  ASSERT_EQ(tweedie("sample m --n 2 --steps 1 --out d").code, 0);
  testing::expect_mistake("sample m --sampler ddpm --variance learned --n 1 --out d --force",
                          {"--variance learned", "fixed_large"}, scratch.path());
  EXPECT_TRUE(fs::exists(scratch / "d/000000.png"));
  EXPECT_TRUE(fs::exists(scratch / "d/000001.png"));
}

TEST_F(SampleCommand, TheFolderDecidesAboutClippingUnlessAFlagDoes) {
  const auto largest = [&](const std::string& flags) {
    const Outcome outcome =
        tweedie("sample m --force --n 2 --steps 3 --save-tensor t.safetensors " + flags);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_safetensors(scratch / "t.safetensors").at("raw").abs().max().item<double>();
  };
  EXPECT_LE(largest(""), 1.0001) << "clip_sample is true in the folder";
  EXPECT_GT(largest("--no-clip"), 1.5) << "an untrained network's x_0 is far outside";
  EXPECT_LE(largest("--clip"), 1.0001);
}

TEST_F(SampleCommand, AFailedWriteIsExitOneNamesTheFileAndLeavesNothing) {
  const size_t before = entries();
  const Outcome limit =
      shell("ulimit -f 1; tweedie sample m --quiet --n 60 --steps 2 --out g.png", scratch.path());
  EXPECT_EQ(limit.code, 1) << limit.err;
  EXPECT_NE(limit.err.find("g.png"), std::string::npos) << limit.err;
  EXPECT_EQ(limit.lines().size(), 1u) << limit.err;
  EXPECT_EQ(entries(), before);
  EXPECT_EQ(shell("tweedie sample m --n 1 --steps 1 --json >/dev/full", scratch.path()).code, 1);
  EXPECT_EQ(shell("tweedie list samplers >&-", scratch.path()).code, 1);
}

TEST_F(SampleCommand, ForceLeavesNoPictureOfAnEarlierRun) {
  ASSERT_EQ(tweedie("sample m --n 5 --steps 1 --out d").code, 0);
  write_file(scratch / "d/mine.png", "x");
  ASSERT_EQ(tweedie("sample m --n 2 --steps 1 --out d --force").code, 0);
  EXPECT_TRUE(fs::exists(scratch / "d/000001.png"));
  EXPECT_FALSE(fs::exists(scratch / "d/000002.png"));
  EXPECT_TRUE(fs::exists(scratch / "d/mine.png"));
}

TEST_F(SampleCommand, NumbersOfANetworkWithoutPictures) {
  make_model(scratch / "two", 0, "", 2);
  const Outcome outcome = tweedie("sample two --n 3 --steps 2 --save-tensor t.safetensors");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(read_safetensors(scratch / "t.safetensors").at("raw").sizes(),
            (std::vector<int64_t>{3, 2, 8, 8}));
}

TEST_F(SampleCommand, ANameThatIsNotUtf8LosesNothing) {
  fs::copy(scratch / "m", scratch / "caf\xe9", fs::copy_options::recursive);
  const Outcome outcome = tweedie("sample caf\xe9 --n 2 --steps 1 --out g.png --json");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(fs::exists(scratch / "g.png"));
}

TEST_F(SampleCommand, CtrlCKeepsTheFinishedImages) {
  const Outcome outcome = shell(
      "\"$TWEEDIE\" sample m --n 400 --batch 1 --steps 20 --out d --quiet & pid=$!; "
      "while [ ! -e d/000002.png ]; do sleep 0.05; done; kill -INT $pid; wait $pid",
      scratch.path());
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_TRUE(fs::exists(scratch / "d/000002.png"));
  EXPECT_FALSE(fs::exists(scratch / "d/000399.png"));
}

TEST_F(SampleCommand, HelpAndVersionGoToStandardOutput) {
  EXPECT_NE(tweedie("--help").out.find("sample"), std::string::npos);
  EXPECT_NE(tweedie("sample --help").out.find("--save-tensor"), std::string::npos);
  EXPECT_EQ(tweedie("--version").code, 0);
  EXPECT_EQ(shell("tweedie --version >/dev/full", scratch.path()).code, 1);
}

}  // namespace
}  // namespace tweedie::testing

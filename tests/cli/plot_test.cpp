// tweedie plot, list and info.
#include <gtest/gtest.h>

#include <filesystem>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"
#include "tweedie/process/schedule_names.h"

namespace tweedie::testing {
namespace {

class PlotListInfo : public ::testing::Test {
 protected:
  Outcome tweedie(const std::string& args) { return run(args, scratch.path()); }
  void expect_mistake(const std::string& args, const std::vector<std::string>& words) {
    testing::expect_mistake(args, words, scratch.path());
    EXPECT_FALSE(std::filesystem::exists(scratch / "p.png")) << args;
  }
  Scratch scratch;
};

TEST_F(PlotListInfo, DrawsAPageOfSeveralAndOfAModel) {
  make_model(scratch / "m");
  const Outcome outcome = tweedie(
      "plot schedule linear squaredcos_cap_v2 edm ve flow m --data shapes:8 --columns 6 --out "
      "p.png "
      "--json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["files"], Json::array({"p.png"}));
  EXPECT_EQ(read_image(scratch / "p.png").width, 1160);
  ASSERT_EQ(tweedie("plot schedule linear fashion --data shapes:8 --out p.svg").code, 0);
  const std::string svg = read_file(scratch / "p.svg");
  EXPECT_NE(svg.find("<image"), std::string::npos);
}

TEST_F(PlotListInfo, NamesTheMistake) {
  expect_mistake("plot schedule liner --out p.png", {"'liner'", "did you mean linear?"});
  expect_mistake("plot schedule linear cosin --out p.png", {"'cosin'", "squaredcos_cap_v2"});
  expect_mistake("plot schedule cosine --out p.png", {"did you mean squaredcos_cap_v2?"});
  expect_mistake("plot schedule --out p.png", {"plot schedule", "linear", "sigmoid"});
  expect_mistake("plot schedule learned --out p.png", {"learned", "a model that was trained"});
  expect_mistake("plot schedule fashon --out p.png", {"'fashon'", "did you mean fashion?"});
  expect_mistake("plot schedule linear --data nothing --out p.png", {"nothing"});
  expect_mistake("plot schedule linear --columns 1 --out p.png", {"--columns"});
  expect_mistake("plot training a b --out p.png", {"training", "one run folder", "2"});
  expect_mistake("plot noising --out p.png", {"noising", "one model", "0"});
  expect_mistake("plot schedul linear --out p.png", {"'schedul'", "schedule"});
}

// The title alone tells the charts of these runs apart.
TEST_F(PlotListInfo, ATrainingIsTitledByItsLoss) {
  const auto chart = [&](const std::string& run, const std::string& card) {
    scratch.write(run + "/log.jsonl",
                  "{\"images\": 8, \"loss\": 2}\n{\"images\": 16, \"loss\": 1}\n");
    if (!card.empty()) scratch.write(run + "/tweedie.json", card);
    const Outcome outcome = tweedie(formatted("plot training {0} --out {0}.png", run));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_image(scratch / (run + ".png")).pixels;
  };
  const auto hybrid = chart("a", R"({"config": {"objective": {"loss": "hybrid"}}})");
  EXPECT_EQ(chart("b", R"({"config": {"objective": {"loss": "hybrid"}}})"), hybrid);
  EXPECT_NE(chart("c", R"({"config": {"objective": {"loss": "simple"}}})"), hybrid);
  const auto unknown = chart("d", "");
  EXPECT_NE(unknown, hybrid);
  EXPECT_EQ(chart("e", R"({"config": null})"), unknown);
}

TEST_F(PlotListInfo, InfoTellsTheProcessOfAModel) {
  make_model(scratch / "m");
  const auto line_of = [&](const std::string& config) {
    scratch.write("m/scheduler/scheduler_config.json", config);
    const Outcome outcome = tweedie("info m --json");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return Json::parse(outcome.out)["scheduler"].get<std::string>();
  };
  EXPECT_EQ(line_of(R"({"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear"})"),
            "DDIMScheduler: 1000 steps, scaled_linear, epsilon");
  EXPECT_EQ(line_of(R"({"num_train_timesteps": 2, "trained_betas": [0.1, 0.2]})"),
            "DDPMScheduler: 2 steps, trained betas, epsilon");
  EXPECT_EQ(line_of(R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0})"),
            "FlowMatchEulerDiscreteScheduler: 1000 steps, flow, shift 3, flow_prediction");
  const std::string edm =
      line_of(R"({"_class_name": "EDMEulerScheduler", "sigma_min": 0.01, "sigma_max": 50.0})");
  EXPECT_NE(edm.find("edm, sigma 0.01 to 50 by karras"), std::string::npos) << edm;
}

TEST_F(PlotListInfo, ListTellsTheChoicesOfEveryKey) {
  const Json keys = Json::parse(tweedie("list keys --json").out)["keys"];
  int found = 0, channels = 0;
  for (const Json& entry : keys) {
    if (entry["key"] == "objective.loss") {
      EXPECT_EQ(entry["choices"], Json::array({"simple", "vlb", "hybrid"}));
      EXPECT_EQ(entry["default"], "simple");
      ++found;
    }
    if (entry["key"] == "process.beta_start") {
      EXPECT_FALSE(entry.contains("choices"));
      EXPECT_EQ(entry["default"], 1e-4);
      ++found;
    }
    if (entry["key"] == "model.type") {
      EXPECT_EQ(entry["choices"], Json::array({"unet", "mlp"}));
      ++found;
    }
    if (entry["key"] == "model.in_channels") {
      EXPECT_EQ(entry["model_type"], ++channels == 1 ? "unet" : "mlp");
    }
  }
  EXPECT_EQ(found, 3);
  EXPECT_EQ(channels, 2) << "that of the U-Net and that of the MLP";
  EXPECT_NE(tweedie("list keys").out.find("; one of simple, vlb, hybrid [\"simple\"]"),
            std::string::npos);
}

TEST_F(PlotListInfo, ListTellsWhatEachIs) {
  const Outcome outcome = tweedie("list schedules --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out)["schedules"];
  EXPECT_EQ(json.size(), schedules().size() + 4);  // and learned, edm, ve, flow
  const Outcome table = tweedie("list schedules");
  for (const ScheduleInfo& info : schedules()) {
    EXPECT_EQ(json[info.name], info.about);
    EXPECT_NE(table.out.find(info.about), std::string::npos) << info.name;
  }
}

}  // namespace
}  // namespace tweedie::testing

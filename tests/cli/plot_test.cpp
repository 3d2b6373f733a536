// tweedie plot schedule and tweedie list schedules.
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

class PlotSchedule : public ::testing::Test {
 protected:
  Outcome tweedie(const std::string& args) { return run(args, scratch.path()); }
  void expect_mistake(const std::string& args, const std::vector<std::string>& words) {
    testing::expect_mistake(args, words, scratch.path());
    EXPECT_FALSE(std::filesystem::exists(scratch / "p.png")) << args;
  }
  Scratch scratch;
};

TEST_F(PlotSchedule, DrawsAPageOfSeveralAndOfAModel) {
  make_model(scratch / "m");
  const Outcome outcome = tweedie(
      "plot schedule linear squaredcos_cap_v2 edm flow m --data shapes:8 --columns 6 --out p.png "
      "--json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["files"], Json::array({"p.png"}));
  EXPECT_EQ(read_image(scratch / "p.png").width, 1160);
  ASSERT_EQ(tweedie("plot schedule linear --data shapes:8 --out p.svg").code, 0);
  const std::string svg = read_file(scratch / "p.svg");
  EXPECT_NE(svg.find("<image"), std::string::npos);
}

TEST_F(PlotSchedule, NamesTheMistake) {
  expect_mistake("plot schedule liner --out p.png", {"'liner'", "did you mean linear?"});
  expect_mistake("plot schedule linear cosin --out p.png", {"'cosin'", "squaredcos_cap_v2"});
  expect_mistake("plot schedule --out p.png", {"plot schedule", "linear", "sigmoid"});
  expect_mistake("plot schedule linear --data nothing --out p.png", {"nothing"});
  expect_mistake("plot schedule linear --columns 1 --out p.png", {"--columns"});
  expect_mistake("plot training a b --out p.png", {"training", "one run folder", "2"});
  expect_mistake("plot noising --out p.png", {"noising", "one model", "0"});
  expect_mistake("plot schedul linear --out p.png", {"'schedul'", "schedule"});
}

TEST_F(PlotSchedule, ListTellsWhatEachIs) {
  const Outcome outcome = tweedie("list schedules --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out)["schedules"];
  EXPECT_EQ(json.size(), schedules().size() + 3);  // and learned, edm, flow
  const Outcome table = tweedie("list schedules");
  for (const ScheduleInfo& info : schedules()) {
    EXPECT_EQ(json[info.name], info.about);
    EXPECT_NE(table.out.find(info.about), std::string::npos) << info.name;
  }
}

}  // namespace
}  // namespace tweedie::testing

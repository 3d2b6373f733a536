// The plan of the convolutions in a training and its checkpoints.
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/train/tiny_training.h"

namespace tweedie {
namespace {

using testing::contains;

struct Told {
  TrainState state;
  std::vector<std::string> notices;
  bool says(const std::string& words) const {
    return std::ranges::any_of(notices, [&](const auto& line) { return contains(line, words); });
  }
};

Told train(TrainSetup setup, bool resume = false) {
  Told run;
  TrainCallbacks callbacks;
  callbacks.notice = [&](const std::string& line) { run.notices.push_back(line); };
  run.state = Trainer(std::move(setup)).run(callbacks, {}, resume);
  return run;
}

// A run of 3 steps in `folder`, in whose checkpoint every convolution is Winograd's: of 8 channels,
// which the rule never chooses.
void begin_otherwise(const fs::path& folder) {
  TrainSetup setup = tiny_setup(folder);
  setup.train.steps = 3, setup.train.lr_schedule = "constant";
  train(setup);
  const fs::path file = folder / "checkpoints/step_3/state.json";
  Json state = read_json(file);
  state["plan"]["version"] = 0;
  for (Json& conv : state["plan"]["convolutions"]) conv["algorithm"] = "winograd";
  write_json(file, state);
}

Told resume(const fs::path& folder, int64_t steps, bool tune = false) {
  TrainSetup setup = tiny_setup(folder);
  setup.train.steps = steps, setup.train.lr_schedule = "constant";
  setup.tune = tune;
  return train(setup, /*resume=*/true);
}

}  // namespace

TEST(Tune, APlanIsInEveryCheckpoint) {
  const fs::path folder = fresh_folder("by_rule");
  const Told run = train(tiny_setup(folder));
  ASSERT_TRUE(run.state.plan);
  EXPECT_FALSE(run.state.plan->measured);
  const Checkpoint saved = load_newest_checkpoint(folder, {});
  EXPECT_EQ(to_json(saved.state.plan), to_json(run.state.plan));
}

TEST(Tune, AStoredPlanIsUsedOnResumeAndSaidToBeForeign) {
  const fs::path whole = fresh_folder("whole_plan"), parts = fresh_folder("parts_plan"),
                 rule = fresh_folder("rule_plan");
  begin_otherwise(whole);
  fs::copy(whole, parts, fs::copy_options::recursive);
  fs::copy(whole, rule, fs::copy_options::recursive);
  const Told run = resume(whole, 9);
  EXPECT_TRUE(run.says("version 0")) << formatted("{}", fmt::join(run.notices, "\n"));
  EXPECT_EQ(run.state.plan->version, 0);
  for (const PlannedConv& c : run.state.plan->convolutions) EXPECT_EQ(c.algorithm, "winograd");

  resume(parts, 6);
  resume(parts, 9);
  EXPECT_TRUE(same_bytes(whole, parts, 9)) << "resumed bit for bit with the stored plan";

  const fs::path file = rule / "checkpoints/step_3/state.json";
  Json state = read_json(file);
  state.erase("plan");  // as an earlier version wrote it
  write_json(file, state);
  EXPECT_FALSE(resume(rule, 9).says("version 0"));
  EXPECT_FALSE(same_bytes(whole, rule, 9)) << "the plan made a difference";
}

TEST(Tune, MeasuresAndReplacesWhatIsStored) {
  const fs::path folder = fresh_folder("measured");
  begin_otherwise(folder);
  const Told run = resume(folder, 6, /*tune=*/true);
  EXPECT_TRUE(run.says("tuned"));
  EXPECT_TRUE(run.state.plan->measured);
  EXPECT_EQ(run.state.plan->version, kConvPlanVersion);
  EXPECT_FALSE(resume(folder, 9).says("tuned")) << "kept";
  EXPECT_TRUE(load_newest_checkpoint(folder, {}).state.plan->measured);
}

TEST(Tune, InBf16ThereIsNothingToMeasure) {
  TrainSetup setup = tiny_setup(fresh_folder("bf16_plan"));
  setup.train.steps = 1, setup.train.lr_schedule = "constant", setup.train.precision = "bf16";
  setup.tune = true;
  const Told run = train(setup);
  EXPECT_TRUE(run.says("nothing to tune"));
  EXPECT_FALSE(run.state.plan->measured);
}

}  // namespace tweedie

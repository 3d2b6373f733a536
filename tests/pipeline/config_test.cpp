#include "tweedie/pipeline/config.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/io/files.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

using testing::message_of;
using testing::Scratch;

}  // namespace

TEST(Config, AFolderOfAConfigsNameDoesNotHideIt) {
  const Scratch scratch;
  const fs::path before = fs::current_path();
  fs::create_directories(scratch / "fashion-small");
  fs::current_path(scratch.path());
  EXPECT_NE(find_config("fashion-small"), "fashion-small");
  fs::current_path(before);
}

TEST(Config, EveryShippedConfigBuildsItsNetworkAndNamesOneBudget) {
  EXPECT_GE(known_configs().size(), 3u);
  for (const std::string& name : known_configs()) {
    const Config config = read_config(name);
    validate(config.model);
    build_network(config.model);
    validate(config.train);
    EXPECT_FALSE(config.data.source.empty()) << name;
  }
}

TEST(Config, AnAssignedBudgetReplacesTheFiles) {
  const Config config =
      read_config("fashion-small", {"train.minutes=2", "train.lr_schedule=constant"});
  EXPECT_FALSE(config.train.images.has_value());
  EXPECT_EQ(config.train.minutes, 2);
  EXPECT_FALSE(read_config("fashion-small", {"train={\"minutes\":2}", "train.lr_schedule=constant"})
                   .train.images.has_value());
  const Config both = read_config("fashion-small", {"train.minutes=2", "train.steps=3"});
  EXPECT_NE(message_of([&] { validate(both.train); }).find("minutes"), std::string::npos);
}

TEST(Config, ErrorsNameTheFileAndTheKey) {
  const Scratch scratch;
  write_file(scratch / "c.json", R"({"train": {"step": 5}})");
  const std::string message = message_of([&] { read_config(scratch / "c.json"); });
  EXPECT_NE(message.find("c.json"), std::string::npos) << message;
  EXPECT_NE(message.find("did you mean train.steps?"), std::string::npos) << message;
  EXPECT_NE(message_of([] { read_config("fashon-small"); }).find("did you mean fashion-small?"),
            std::string::npos);
}

TEST(Config, PresetsFitTheDataAndTheMinutes) {
  const DatasetPtr shapes = open_dataset({.spec = "shapes:40x20"});
  Config config = preset_for(*shapes, "shapes:40x20", 30);
  EXPECT_EQ(config.data.size, (std::vector<int64_t>{32, 16}));
  EXPECT_EQ(config.model->in_channels, 3);
  EXPECT_EQ(config.model->num_class_embeds, static_cast<int64_t>(shapes->classes().size()) + 1);
  EXPECT_EQ(config.train.minutes, 30);
  validate(config.model);
  const Config points = preset_for(*open_dataset({.spec = "points:moons"}), "points:moons", 1);
  EXPECT_TRUE(points.model.is_mlp());
  EXPECT_FALSE(points.process.clip_sample);
  // Half an hour is enough for several checkpoints and previews, and the warm-up is a small part of
  // it.
  EXPECT_LE(config.train.checkpoint_every, 300);
  EXPECT_LE(config.train.warmup_steps, 500);
  EXPECT_LE(preset_for(*shapes, "shapes:40x20", 1).train.preview_every, 20);
  EXPECT_GT(preset_for(*shapes, "shapes:40x20", 600).model.unet().block_out_channels[0],
            config.model.unet().block_out_channels[0]);
}

TEST(Config, ABudgetIsWorthMinutesHoweverItIsGiven) {
  const DatasetPtr shapes = open_dataset({.spec = "shapes:8"});
  const DatasetPtr moons = open_dataset({.spec = "points:moons"});
  EXPECT_EQ(minutes_of(*shapes, {"data.size=[8,8]", "train.minutes=2.5"}), 2.5);
  EXPECT_EQ(minutes_of(*shapes, {"train={\"images\":12000}"}), 2);
  EXPECT_EQ(minutes_of(*moons, {"train.steps=9000"}), 1);
  EXPECT_NE(message_of([&] { minutes_of(*moons, {"train.seed=1"}); }).find("--minutes"),
            std::string::npos);
  // As many steps as were asked for have their checkpoints, previews and warm-up.
  Config config = preset_for(*moons, "points:moons", minutes_of(*moons, {"train.steps=2000"}));
  apply_assignments(config, {"train.steps=2000"});
  EXPECT_EQ(config.train.steps, 2000);
  EXPECT_FALSE(config.train.minutes);
  EXPECT_LE(config.train.eval_every, 500);
  EXPECT_LE(config.train.warmup_steps, 100);
}

}  // namespace tweedie

#include "tweedie/pipeline/config.h"

#include <gtest/gtest.h>

#include "tests/support/scratch.h"
#include "tweedie/io/files.h"
#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

using testing::Scratch;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST(Config, EveryShippedConfigBuildsItsNetworkAndNamesOneBudget) {
  for (const std::string& name : known_configs()) {
    const Config config = read_config(name);
    validate(config.model);
    validate(config.train);
    EXPECT_FALSE(config.data.source.empty()) << name;
  }
}

TEST(Config, AnAssignedBudgetReplacesTheFiles) {
  const Config config =
      read_config("fashion-small", {"train.minutes=2", "train.lr_schedule=constant"});
  EXPECT_FALSE(config.train.images.has_value());
  EXPECT_EQ(config.train.minutes, 2);
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
  const Config config = preset_for(*shapes, "shapes:40x20", 30);
  EXPECT_EQ(config.data.size, (std::vector<int64_t>{32, 16}));
  EXPECT_EQ(config.model.in_channels, 3);
  EXPECT_EQ(config.model.num_class_embeds, static_cast<int64_t>(shapes->classes().size()) + 1);
  EXPECT_EQ(config.train.minutes, 30);
  validate(config.model);
  EXPECT_GT(preset_for(*shapes, "shapes:40x20", 600).model.block_out_channels[0],
            config.model.block_out_channels[0]);
}

}  // namespace tweedie

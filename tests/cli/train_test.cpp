// tweedie train --dry-run.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "run.h"
#include "tests/support/scratch.h"
#include "tweedie/core/options.h"
#include "tweedie/io/files.h"

namespace tweedie::testing {

TEST(TrainCommand, ADryRunSaysWhatWouldHappenAndWritesNothing) {
  const Scratch scratch;
  write_file(scratch / "config.json", R"({
    "about": "eight by eight",
    "data": {"source": "shapes:8"},
    "model": {"block_out_channels": [8, 8], "norm_num_groups": 4, "layers_per_block": 1,
              "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
              "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]},
    "train": {"steps": 40, "batch_size": 2, "preview_every": 0, "eval_images": 4}})");
  const Outcome outcome = run("train config.json --out r --dry-run", scratch.path());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* words :
       {"eight by eight", "shapes:8", " parameters, 8x8x3", "memory: about ", "budget: 40 steps",
        "writes to r", "time: ", " s a step, ", " for 40 steps"})
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words << "\n" << outcome.out;

  const Outcome in_json = run("train config.json --dry-run --json", scratch.path());
  ASSERT_EQ(in_json.code, 0) << in_json.err;
  const Json json = Json::parse(in_json.out);
  EXPECT_EQ(json["facts"].size(),
            static_cast<size_t>(std::count(outcome.out.begin(), outcome.out.end(), '\n')));
  EXPECT_EQ(json["config"]["train"]["steps"], 40);

  const auto files = std::filesystem::directory_iterator(scratch.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1) << "the config alone";
  expect_mistake("train config.json --dry-run --resume", {"--dry-run", "--resume"}, scratch.path());
}

}  // namespace tweedie::testing

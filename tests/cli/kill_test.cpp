// Training that is killed at random moments and resumed ends with the bytes of one that was not.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "run.h"
#include "tests/support/scratch.h"
#include "tweedie/core/rng.h"
#include "tweedie/io/files.h"

namespace fs = std::filesystem;

namespace tweedie::testing {
namespace {

constexpr int kKills = 20;

const char* kConfig = R"({
  "data": { "source": "shapes:8", "flip": true },
  "model": { "in_channels": 3, "out_channels": 3, "block_out_channels": [8, 8], "layers_per_block": 1,
             "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
             "up_block_types": ["AttnUpBlock2D", "UpBlock2D"], "norm_num_groups": 4, "dropout": 0.1 },
  "train": { "steps": 1500, "batch_size": 4, "lr_schedule": "cosine", "warmup_steps": 20, "checkpoint_every": 7,
             "eval_every": 0, "preview_every": 0, "workers": 1 }
})";

pid_t start(const std::string& folder, const std::vector<std::string>& args) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  setenv("OMP_NUM_THREADS", "1", 1);
  if (chdir(folder.c_str()) != 0) _exit(99);
  const int null = open("/dev/null", O_WRONLY);
  dup2(null, STDERR_FILENO);
  dup2(null, STDOUT_FILENO);
  std::vector<char*> argv = {const_cast<char*>(TWEEDIE_CLI)};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(TWEEDIE_CLI, argv.data());
  _exit(98);
}

TEST(Kill, AtTwentyRandomMomentsChangesNoByteOfTheResult) {
  const Scratch scratch;
  write_file(scratch / "c.json", kConfig);
  ASSERT_EQ(run("train c.json --out whole --quiet", scratch.path()).code, 0);

  Rng rng(20);
  int kills = 0;
  for (int tries = 0; kills < kKills && tries < 200; ++tries) {
    const bool resumable = fs::exists(scratch / "cut/checkpoints") && !fs::is_empty(scratch / "cut/checkpoints");
    const pid_t pid = start(scratch.path(), resumable ? std::vector<std::string>{"train", "--resume", "--out", "cut"}
                                                      : std::vector<std::string>{"train", "c.json", "--out", "cut",
                                                                                 "--force"});
    std::this_thread::sleep_for(std::chrono::milliseconds(300 + rng.below(500)));
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the training ended before it was killed " << kKills << " times";
    ++kills;
  }
  const Outcome last = run("train --resume --out cut --quiet", scratch.path());
  ASSERT_EQ(last.code, 0) << last.err;

  for (const char* file : {"unet/diffusion_pytorch_model.safetensors", "checkpoints/step_1500/weights.safetensors",
                           "checkpoints/step_1500/ema.safetensors", "checkpoints/step_1500/optimizer.safetensors"})
    EXPECT_TRUE(read_file(scratch / ("whole/" + std::string(file))) ==
                read_file(scratch / ("cut/" + std::string(file))))
        << file;
  for (const auto& entry : fs::recursive_directory_iterator(scratch / "cut"))
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << "left behind: " << entry.path();
}

}  // namespace
}  // namespace tweedie::testing

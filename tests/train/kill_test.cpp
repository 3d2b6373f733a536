// A training that is killed with SIGKILL at random moments, again and again, ends with the same
// bytes.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/train/tiny_training.h"
#include "tweedie/core/rng.h"

namespace tweedie {
namespace {

constexpr int64_t kSteps = 100;
constexpr int kKills = 20;
constexpr const char* kFolder = "TWEEDIE_TEST_KILL_FOLDER";

TrainSetup long_setup(const fs::path& folder) {
  TrainSetup setup = tiny_setup(folder);
  setup.train.steps = kSteps;
  setup.train.checkpoint_every = 2;
  setup.train.eval_every = 50;
  return setup;
}

// This program again, running the test Child with `folder`, writing a byte to `ready` before its
// first step.
pid_t start_child(const fs::path& folder, int ready) {
  const pid_t child = fork();
  if (child != 0) return child;
  dup2(ready, 3);
  setenv(kFolder, folder.c_str(), 1);
  execl("/proc/self/exe", "test_train", "--gtest_filter=Kill.DISABLED_Child", "--gtest_brief=1",
        "--gtest_also_run_disabled_tests", nullptr);
  _exit(127);
}

}  // namespace

TEST(Kill, DISABLED_Child) {
  const char* folder = std::getenv(kFolder);
  ASSERT_NE(folder, nullptr);
  TrainCallbacks callbacks;
  callbacks.on_begin = [] { ASSERT_EQ(write(3, "1", 1), 1); };
  Trainer(long_setup(folder)).run(callbacks, {}, /*resume=*/!newest_checkpoint(folder).empty());
}

TEST(Kill, AtTwentyRandomMomentsChangesNothing) {
  const fs::path whole = fresh_folder("never_killed"), killed = fresh_folder("often_killed");
  Trainer(long_setup(whole)).run({}, {}, false);
  const auto seed = static_cast<uint64_t>(getpid());
  SCOPED_TRACE(formatted("seed {}", seed));
  Rng rng(seed);
  int kills = 0, status = 0;
  for (int round = 0; round < 3 * kKills; ++round) {
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = start_child(killed, ready[1]);
    close(ready[1]);
    char byte;
    const ssize_t began = read(ready[0], &byte, 1);  // 0 if the child is gone
    close(ready[0]);
    ASSERT_EQ(began, 1) << "the child died before its first step";
    const bool let_live = kills >= kKills;
    if (!let_live) {
      usleep(static_cast<useconds_t>(rng.below(80'000)));
      kill(child, SIGKILL);
    }
    ASSERT_EQ(waitpid(child, &status, 0), child);
    kills += WIFSIGNALED(status);
    if (let_live) break;
  }
  EXPECT_EQ(kills, kKills);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(same_bytes(whole, killed, kSteps));
  EXPECT_EQ(log_of(whole), log_of(killed));
  for (const auto& entry : fs::directory_iterator(killed / "checkpoints"))
    EXPECT_TRUE(entry.path().filename().string().starts_with("step_")) << entry.path();
}

}  // namespace tweedie

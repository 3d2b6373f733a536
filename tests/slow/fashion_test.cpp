// What takes minutes: the shipped recipe on real images.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/support/scratch.h"
#include "tweedie/io/image.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/training.h"

namespace tweedie {

// 200 steps, about four minutes on two cores. An untrained network's loss is 1.
TEST(Fashion, TheSmallRecipeLearns) {
  at::set_num_threads(2);
  const testing::Scratch scratch;
  Config config = read_config("fashion-small", {"train.steps=200", "train.warmup_steps=50",
                                                "train.preview_every=0", "train.eval_every=100"});
  const TrainState end = Training(config, scratch / "run").run({}, {}, {});
  ASSERT_TRUE(end.heldout.has_value());
  EXPECT_LT(end.heldout->all, 0.15);
  EXPECT_LT(end.heldout->q4, end.heldout->q1) << "little noise is the hard quarter";

  // Garments lie on black. After so few steps that is not yet what it draws, but it knows where the
  // light is; noise would be as bright in the corners as in the middle.
  Model model = load_model(scratch / "run");
  double corners = 0, middle = 0;
  for (const Image& image : generate(model, {.n = 20, .seed = 1, .batch = 20, .steps = 20})) {
    const auto pixel = [&](int y, int x) { return double(image.pixels[y * 28 + x]); };
    corners += (pixel(0, 0) + pixel(0, 27) + pixel(27, 0) + pixel(27, 27)) / 80;
    middle += pixel(16, 14) / 20;
  }
  EXPECT_GT(middle, corners + 40);
}

}  // namespace tweedie

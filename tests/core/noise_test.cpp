#include "tweedie/core/noise.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tweedie/core/error.h"

namespace tweedie {

TEST(Noise, AnImagesNoiseDoesNotDependOnTheBatch) {
  SeededNoise all(3, 0, {9, 1, 4, 5}), tail(3, 6, {3, 1, 4, 5});
  for (int draw = 0; draw < 3; ++draw)
    EXPECT_TRUE(at::equal(all.draw().narrow(0, 6, 3), tail.draw())) << draw;
  EXPECT_FALSE(
      at::equal(SeededNoise(3, 0, {1, 1, 4, 5}).draw(), SeededNoise(4, 0, {1, 1, 4, 5}).draw()));
}

TEST(Noise, ReplayReturnsTheFilesDrawsAndRefusesMore) {
  const Tensor steps = at::arange(8, at::kFloat).view({2, 1, 1, 2, 2});
  ReplayedNoise noise(at::zeros({1, 1, 2, 2}), steps);
  EXPECT_TRUE(at::equal(noise.draw(), steps[0]));
  EXPECT_TRUE(at::equal(noise.draw(), steps[1]));
  EXPECT_THROW(noise.draw(), Error);
}

}  // namespace tweedie

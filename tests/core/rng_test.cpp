#include "tweedie/core/rng.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tweedie {

// Known answers of Philox4x32-10 from the Random123 distribution (kat_vectors): counter and key all
// zero give 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
TEST(Rng, MatchesTheKnownAnswerOfPhilox) {
  Rng rng(0, 0);
  EXPECT_EQ(rng.bits(), 0x6627e8d5u);
  EXPECT_EQ(rng.bits(), 0xe169c58du);
  EXPECT_EQ(rng.bits(), 0xbc57ac4cu);
  EXPECT_EQ(rng.bits(), 0x9b00dbd8u);
}

TEST(Rng, NormalHasTheMomentsOfAStandardNormal) {
  Rng rng(7, 3);
  const int n = 200000;
  double sum = 0, square = 0, cube = 0, fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double z = rng.normal();
    sum += z, square += z * z, cube += z * z * z, fourth += z * z * z * z;
  }
  // Five standard errors of each moment's estimate.
  EXPECT_NEAR(sum / n, 0, 5 * std::sqrt(1.0 / n));
  EXPECT_NEAR(square / n, 1, 5 * std::sqrt(2.0 / n));
  EXPECT_NEAR(cube / n, 0, 5 * std::sqrt(15.0 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96.0 / n));
}

TEST(Rng, StreamsAndSeedsAreIndependent) {
  EXPECT_NE(Rng(1, 0).bits(), Rng(1, 1).bits());
  EXPECT_NE(Rng(1, 0).bits(), Rng(2, 0).bits());
  EXPECT_NE(stream_of("image", 1), stream_of("image", 2));
  EXPECT_NE(stream_of("image", 1, 2), stream_of("image", 2, 1));
  EXPECT_NE(stream_of("image"), stream_of("epoch"));
}

TEST(Rng, PermutationHoldsEveryIndexOnce) {
  std::vector<int64_t> order = Rng(5).permutation(1000);
  std::vector<bool> seen(1000, false);
  for (const int64_t i : order) seen.at(i) = true;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 1000);
  EXPECT_NE(order, Rng(6).permutation(1000));
}

}  // namespace tweedie

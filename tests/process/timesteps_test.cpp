#include "tweedie/process/timesteps.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/errors.h"
#include "tweedie/core/error.h"

namespace tweedie {
namespace {

using List = std::vector<int64_t>;

std::string message_of(const std::string& spacing, int64_t T, int64_t N, int64_t offset = 0) {
  return testing::message_of([&] { timesteps(spacing, T, N, offset); });
}

}  // namespace

// LIN Table 2
TEST(Timesteps, SevenOfAThousand) {  // the lists of diffusers 0.42.1
  EXPECT_EQ(timesteps("leading", 1000, 7), (List{852, 710, 568, 426, 284, 142, 0}));
  EXPECT_EQ(timesteps("leading", 1000, 7, 1), (List{853, 711, 569, 427, 285, 143, 1}));
  EXPECT_EQ(timesteps("linspace", 1000, 7), (List{999, 832, 666, 500, 333, 166, 0}));
  EXPECT_EQ(timesteps("trailing", 1000, 7), (List{999, 856, 713, 570, 428, 285, 142}));
}

TEST(Timesteps, OneStepBeginsAtTheNoiseEndWhereTheSpacingReachesIt) {
  EXPECT_EQ(timesteps("leading", 1000, 1), (List{0}));
  EXPECT_EQ(timesteps("linspace", 1000, 1), (List{999}));
  EXPECT_EQ(timesteps("trailing", 1000, 1), (List{999}));
}

TEST(Timesteps, TheWholeChainIsTheSameInEverySpacing) {
  List all(50);
  for (int64_t i = 0; i < 50; ++i) all[i] = 49 - i;
  for (const char* spacing : {"leading", "linspace", "trailing"})
    EXPECT_EQ(timesteps(spacing, 50, 50), all) << spacing;
}

TEST(Timesteps, AreExactlyNFallingAndInRangeForEveryN) {
  for (const char* spacing : {"leading", "linspace", "trailing"}) {
    for (int64_t N = 1; N <= 1000; ++N) {
      const List list = timesteps(spacing, 1000, N);
      ASSERT_EQ(static_cast<int64_t>(list.size()), N) << spacing;
      ASSERT_GE(list.back(), 0) << spacing << " " << N;
      ASSERT_LT(list.front(), 1000) << spacing << " " << N;
      for (int64_t i = 1; i < N; ++i) ASSERT_LT(list[i], list[i - 1]) << spacing << " " << N;
    }
  }
}

TEST(Timesteps, RefusesWhatCannotBe) {
  EXPECT_EQ(message_of("leading", 1000, 1001), "[process] steps: 1001 is outside 1..1000");
  EXPECT_EQ(message_of("leading", 1000, 0), "[process] steps: 0 is outside 1..1000");
  EXPECT_EQ(message_of("leadin", 1000, 10),
            "unknown timestep_spacing 'leadin'; did you mean leading? known: leading, linspace, "
            "trailing");
  EXPECT_EQ(message_of("leading", 1000, 1000, 1),
            "[process] steps_offset: 1 leads to t = 1000, beyond the last step 999");
}

}  // namespace tweedie

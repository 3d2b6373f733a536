#include "tweedie/process/timesteps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

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

// DDIM App. D.
TEST(Timesteps, QuadraticCrowdsAtTheData) {
  // floor(0.8 T (i/(N-1))^2), written out for T = 1000, N = 5.
  EXPECT_EQ(timesteps("quadratic", 1000, 5), (List{800, 450, 200, 50, 0}));
  EXPECT_EQ(timesteps("quadratic", 1000, 1), (List{800}));
  EXPECT_EQ(timesteps("quadratic", 20, 9).size(), 8u) << "0 and 0.25 are the same step";
}

// IDDPM Sec. 4, and the lists that its code gives.
TEST(Timesteps, RespacingIsIddpms) {
  const List two_hundred_fifty = respaced("250", 1000);  // 0,4,8,...,991,995,999
  ASSERT_EQ(two_hundred_fifty.size(), 250u);
  EXPECT_EQ(List(two_hundred_fifty.begin(), two_hundred_fifty.begin() + 3), (List{999, 995, 991}));
  EXPECT_EQ(List(two_hundred_fifty.end() - 3, two_hundred_fifty.end()), (List{8, 4, 0}));
  const List ddim = respaced("ddim250", 1000);  // 0,4,...,996
  ASSERT_EQ(ddim.size(), 250u);
  EXPECT_EQ(ddim.front(), 996);
  for (size_t i = 0; i < ddim.size(); ++i) EXPECT_EQ(ddim[i], 4 * (249 - static_cast<int64_t>(i)));
  const List thirds = respaced("10,10,10", 1000);  // 0,37,74,...,999
  ASSERT_EQ(thirds.size(), 30u);
  EXPECT_EQ(List(thirds.end() - 3, thirds.end()), (List{74, 37, 0}));
  EXPECT_EQ(thirds.front(), 999);
  EXPECT_EQ(thirds[20], 333) << "the first section has 334 steps: 0..333";
  EXPECT_EQ(thirds[19], 334);
  EXPECT_EQ(respaced("1,1", 10), (List{5, 0})) << "one of a section is its first";
}

// Whether the accumulation in float64 is as the published code has it: 1541 of the 4998 pairs
// differ from round(i (T-1)/(N-1)).
TEST(Timesteps, RespacingAccumulatesInFloat64) {
  int64_t differ = 0, pairs = 0;
  for (const int64_t T : {1000, 4000})
    for (int64_t N = 2; N <= T; ++N, ++pairs) {
      List list = respaced(std::to_string(N), T);
      std::reverse(list.begin(), list.end());
      bool same = true;
      for (int64_t i = 0; i < N; ++i)
        same &= list[i] == std::nearbyint(i * (static_cast<double>(T - 1) / (N - 1)));
      differ += !same;
    }
  EXPECT_EQ(pairs, 4998);
  EXPECT_EQ(differ, 1541);
}

TEST(Timesteps, RespacingThatCannotBeIsRefused) {
  const auto fault = [](const std::string& spacing) {
    return testing::message_of([&] { respaced(spacing, 1000); });
  };
  EXPECT_EQ(fault("1001"), "[process] spacing 1001: 1001 steps of a section that has 1000");
  EXPECT_EQ(fault("10,600"), "[process] spacing 10,600: 600 steps of a section that has 500");
  EXPECT_EQ(fault("ddim51"), "[process] spacing ddim51: no stride gives exactly 51 of 1000 steps");
  EXPECT_NE(fault("ddim0"), "");
  EXPECT_NE(fault("10,,5"), "");
  EXPECT_NE(fault("0"), "");
  EXPECT_FALSE(is_respacing("ddim"));
  EXPECT_FALSE(is_respacing("leading"));
  EXPECT_TRUE(is_respacing("10,15,20"));
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
            "trailing, quadratic");
  EXPECT_EQ(message_of("leading", 1000, 1000, 1),
            "[process] steps_offset: 1 leads to t = 1000, beyond the last step 999");
}

}  // namespace tweedie

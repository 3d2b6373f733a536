#include "tweedie/kernels/instruction_set.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/errors.h"

namespace tweedie::kernels {

TEST(InstructionSet, IsTheBestThatTheLimitAllows) {
  const std::string before = instruction_set();
  const std::vector<std::string> known = instruction_sets();
  const auto rank = [&](const std::string& name) {
    return std::find(known.begin(), known.end(), name) - known.begin();
  };
  limit_instruction_set(known.front());
  const std::string best = instruction_set();
  for (const std::string& name : known) {
    limit_instruction_set(name);
    EXPECT_EQ(rank(instruction_set()), std::max(rank(best), rank(name))) << name;
  }
  limit_instruction_set(before);
  EXPECT_EQ(instruction_set(), before);
}

TEST(InstructionSet, AnUnknownOneIsRefused) {
  const std::string before = instruction_set();
  const std::string message =
      tweedie::testing::message_of([] { limit_instruction_set("avx1024"); });
  for (const std::string& part : {std::string("'avx1024'"), instruction_sets().front()})
    EXPECT_TRUE(tweedie::testing::contains(message, part)) << message;
  EXPECT_EQ(instruction_set(), before);
}

}  // namespace tweedie::kernels

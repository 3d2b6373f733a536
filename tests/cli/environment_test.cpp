// What the program reads from the environment.
#include <gtest/gtest.h>

#include "run.h"

namespace tweedie::testing {

TEST(Environment, TheInstructionSetIsLimitedOrTheMistakeIsNamed) {
  const Outcome limited = shell("export TWEEDIE_ISA=baseline; tweedie list samplers");
  EXPECT_EQ(limited.code, 0) << limited.err;
  const Outcome refused = shell("export TWEEDIE_ISA=sse9; tweedie list samplers");
  EXPECT_EQ(refused.code, 2);
  EXPECT_EQ(refused.out, "");
  ASSERT_EQ(refused.lines().size(), 1u) << refused.err;
  EXPECT_NE(refused.err.find("'sse9'; known: "), std::string::npos) << refused.err;
}

}  // namespace tweedie::testing

// Of the tests that run kernels: the environment variable TWEEDIE_ISA limits their instruction set.
#include <gtest/gtest.h>

#include <cstdio>

#include "tweedie/core/error.h"
#include "tweedie/kernels/instruction_set.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  try {
    tweedie::kernels::limit_instruction_set_from_environment();
  } catch (const tweedie::Error& e) {
    return std::fprintf(stderr, "%s\n", e.what()), 2;
  }
  std::printf("Instruction set: %s\n", tweedie::kernels::instruction_set().c_str());
  return RUN_ALL_TESTS();
}

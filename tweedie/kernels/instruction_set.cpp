#include "tweedie/kernels/instruction_set.h"

#include <cstdlib>

#include "tweedie/core/error.h"

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/instruction_set.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

int64_t Target() { return HWY_TARGET; }

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Target);

namespace {

struct InstructionSet {
  const char* name;
  int64_t target;  // one of Highway's bits, of which lower ones are better

  int64_t and_better() const { return target | (target - 1); }
};

constexpr InstructionSet kSets[] = {
#if HWY_ARCH_X86
    {"avx512", HWY_AVX3},
    {"avx2", HWY_AVX2},
#endif
    {HWY_ARCH_ARM ? "neon" : "baseline", HWY_STATIC_TARGET}};

}  // namespace

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const InstructionSet& set : kSets) names.emplace_back(set.name);
  return names;
}

std::string instruction_set() {
  const int64_t target = HWY_DYNAMIC_DISPATCH(Target)();
  const InstructionSet* set = kSets;
  while (!(set->and_better() & target)) ++set;
  return set->name;
}

void limit_instruction_set(const std::string& name) {
  int64_t better = 0;
  for (const InstructionSet& set : kSets) {
    if (name == set.name) return hwy::DisableTargets(better);
    better = set.and_better();
  }
  fail_unknown("instruction set (TWEEDIE_ISA)", name, instruction_sets());
}

void limit_instruction_set_from_environment() {
  if (const char* name = std::getenv("TWEEDIE_ISA"); name && *name) limit_instruction_set(name);
}

}  // namespace tweedie::kernels
#endif

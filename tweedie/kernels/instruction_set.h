// Which of the CPU's instruction sets the kernels use.
#pragma once
#include <string>
#include <vector>

namespace tweedie::kernels {

/// Those the kernels are compiled for, best first: "avx512", "avx2" and "baseline", which every CPU
/// has, on x86, "neon" on ARM.
std::vector<std::string> instruction_sets();

/// The one in use: the best that the CPU has and the limit allows.
std::string instruction_set();

/// From now on none better than `name`, one of instruction_sets(); not while a kernel runs. An
/// unknown name is the user's mistake.
void limit_instruction_set(const std::string& name);

/// The same with the environment variable TWEEDIE_ISA, if there is one: for the main() of a
/// program. The library itself reads no variables.
void limit_instruction_set_from_environment();

}  // namespace tweedie::kernels

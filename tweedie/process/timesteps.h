// Which of the T training steps a sampler visits.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace tweedie {

/// N indices of 0..T-1, noisiest first (LIN Table 2):
///   leading   i floor(T/N) + offset: begins below T - 1, so pure noise enters where training saw
///   signal linspace  round(i (T-1)/(N-1)): both ends; N = 1 is T - 1 trailing  round(T - i T/N) -
///   1: begins at T - 1, exactly N entries
/// `offset` counts for leading alone. Halves are rounded to even. Throws Error (user) for an
/// unknown spacing, N outside 1..T, and an offset that leads beyond T - 1.
std::vector<int64_t> timesteps(const std::string& spacing, int64_t T, int64_t N,
                               int64_t offset = 0);

}  // namespace tweedie

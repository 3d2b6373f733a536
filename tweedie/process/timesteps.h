// Which of the T training steps a sampler visits.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace tweedie {

/// N indices of 0..T-1, noisiest first:
///   leading    i floor(T/N) + offset: begins below T - 1, so pure noise enters where training saw
///              signal (LIN Table 2)
///   linspace   round(i (T-1)/(N-1)): both ends; N = 1 is T - 1 (LIN Table 2)
///   trailing   round(T - i T/N) - 1: begins at T - 1, exactly N entries (LIN Table 2)
///   quadratic  floor(0.8 T (i/(N-1))^2): dense near the data; fewer than N where entries meet
///              (DDIM App. D)
/// `offset` counts for leading alone. Halves are rounded to even. Throws Error (user) for an
/// unknown spacing, N outside 1..T, and an offset that leads beyond T - 1.
std::vector<int64_t> timesteps(const std::string& spacing, int64_t T, int64_t N,
                               int64_t offset = 0);

/// Whether a spacing is a respacing: digits and commas ("250", "10,15,20"), or "ddim50".
bool is_respacing(const std::string& spacing);

/// IDDPM's respacing of 0..T-1, noisiest first. "n1,n2,...": so many of each of as many near-equal
/// sections, the first one from the data end (IDDPM Sec. 4); "ddimN": every s-th, s being the
/// smallest that gives exactly N. Throws Error (user) for a section of fewer steps than
/// are asked of it, and for an N that no stride gives.
std::vector<int64_t> respaced(const std::string& spacing, int64_t T);

}  // namespace tweedie

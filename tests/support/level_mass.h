// The discretised Gaussian of DDPM Eq. 13, plainly, for one number.
#pragma once
#include <cmath>
#include <numbers>

namespace tweedie::testing {

/// The mass of N(mean, deviation^2) on the bin of the 8-bit level p, 2/255 wide and open at both
/// ends of the scale: the difference of two tails on the side where they are small.
inline double level_mass(int p, double mean, double deviation) {
  const double level = p / 127.5 - 1;
  if (level < mean) return level_mass(255 - p, -mean, deviation);
  const auto beyond = [&](double x) {
    return std::erfc((x - mean) / deviation / std::numbers::sqrt2) / 2;
  };
  return (p == 0 ? 1 : beyond(level - 1. / 255)) - (p == 255 ? 0 : beyond(level + 1. / 255));
}

}  // namespace tweedie::testing

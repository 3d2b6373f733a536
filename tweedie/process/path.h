// What lies between the entries of a list of levels: the way from image to noise as a function of
// time, and of the noise-to-signal ratio r = sigma/alpha (EDM's sigma).
#pragma once
#include <functional>

#include "tweedie/process/schedule.h"

namespace tweedie {

/// Both functions rise from the data to noise. Empty functions: nothing is known between levels.
struct Path {
  std::function<Level(double t)> at_time;   ///< where the network is told t
  std::function<Level(double r)> at_ratio;  ///< where sigma/alpha is r > 0, exactly
  explicit operator bool() const { return static_cast<bool>(at_ratio); }
};

/// sigma/alpha; infinite where no signal is left.
double noise_ratio(const Level& at);

/// A level of each path, where sigma/alpha is r, or at time tau of the flow.
Level vp_level(double r, double t);
Level edm_level(double r);
Level flow_level(double tau);

/// N ratios sigma/alpha from `high` down to `low`, by karras, exponential or log_snr. Throws Error
/// (user) where they do not fall: a rho too large or too small, ends too close.
std::vector<double> noise_ratios(const std::string& spacing, int64_t N, double high, double low,
                                 double rho);

/// The table's own entries, and t linear in ln r between them. Where r lies beyond the table t is
/// that of the end; alpha and sigma fit r all the same. Where the last entry is pure noise (zero
/// terminal SNR), at_ratio ends at the entry before it and at_time goes on by the angle whose
/// tangent r is. at_time throws Error (user) outside 0..T-1.
Path vp_path(const Schedule& schedule);

/// alpha = 1, sigma = r, t = ln(r)/4 (EDM Table 1).
Path ve_path();

/// alpha = 1 - tau, sigma = tau, t = 1000 tau, 0 < tau <= 1 (FM; rectified flow).
Path flow_path();

}  // namespace tweedie

// Where a sampler goes, and what lies between.
#pragma once
#include <initializer_list>

#include "tweedie/process/path.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// N + 1 levels, noisiest first; the last is where the sampler ends. A list of levels is a grid
/// without a path: enough for samplers that look at its levels alone.
struct Grid {
  Grid() = default;
  Grid(std::vector<Level> levels, Path path = {})  // NOLINT: a list is a grid
      : levels(std::move(levels)), path(std::move(path)) {}
  Grid(std::initializer_list<Level> levels) : levels(levels) {}

  int64_t steps() const { return static_cast<int64_t>(levels.size()) - 1; }
  /// Where step i of 0..N-1 ends: levels[i+1], or as `stride` has it.
  Level landing(int64_t i) const;

  std::vector<Level> levels;
  Path path;
  double init = 1;     ///< the sampler begins at this multiple of standard normal noise
  int64_t stride = 0;  ///< > 0: a step ends at t - stride, whatever the list says, and at the last
                       ///< level where that is below 0 (diffusers' DDIM and PNDM)
};

struct GridOptions {
  int64_t steps = 50;
  /// A list of timesteps: leading, linspace, trailing, quadratic, or a respacing ("250",
  /// "10,15,20", "ddim50"), which says itself how many. Or levels between them: karras (EDM Eq. 5),
  /// or exponential, also named log_snr (uniform in log-SNR, DPM++).
  std::string spacing = "leading";
  int64_t offset = 0;  ///< added to leading timesteps
  /// The timesteps that diffusers' Euler and Heun fit karras and exponential to.
  std::string list = "linspace";
  double rho = 7;  ///< of karras
  /// Of karras, exponential and log_snr: the bounds of sigma/alpha between which every level but
  /// the first lies, which stays the noisiest of the process; 0: the process's own.
  double sigma_max = 0, sigma_min = 0;
  std::vector<int64_t> timesteps = {};  ///< falling; if not empty, instead of a spacing
  std::string scheduler = {};  ///< the class of diffusers' whose own lists to follow; "" for ours
};

/// What lies between the timesteps of a process.
Path path_of(const Process& process);

/// Whether a spacing has its levels between the timesteps: karras, exponential, log_snr.
bool between_timesteps(const std::string& spacing);

/// The spacings' names; a respacing is beside them.
std::vector<std::string> spacing_names();

/// The grid of a process, with its path; it ends where process.end() says. What lies between two
/// timesteps tells the network a fractional t. Throws Error (user) for an unknown spacing, more
/// steps than the process has, and timesteps that do not fall or lie outside 0..T-1.
Grid make_grid(const Process& process, const GridOptions& options);

/// What diffusers' class makes of it; make_grid calls this where options.scheduler is set. The
/// places where that differs from ours are listed in docs/samplers.md.
Grid diffusers_grid(const Process& process, const GridOptions& options);

}  // namespace tweedie

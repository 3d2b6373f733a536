// The grids of diffusers 0.42.1, class by class, where they differ from ours: docs/samplers.md.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "tweedie/process/grid.h"
#include "tweedie/process/timesteps.h"

namespace tweedie {
namespace {

double square(double x) { return x * x; }

bool one_of(const std::string& name, std::initializer_list<const char*> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The level, of which the network is told another t.
Level told(const Level& at, double t) { return {at.alpha, at.sigma, t}; }

std::vector<int64_t> plain_timesteps(const Process& process, const GridOptions& o, int64_t N) {
  return timesteps(o.spacing, process.schedule().size(), N, o.offset);
}

// DDPM, DDIM and PNDM. The latter two step by T/N, whatever their list says.
Grid chain(const Process& process, const GridOptions& o) {
  Grid grid(process.levels_at(plain_timesteps(process, o, o.steps)), vp_path(process.schedule()));
  if (o.scheduler != "DDPMScheduler") grid.stride = process.schedule().size() / o.steps;
  return grid;
}

// IPNDM: a table of its own, whatever the folder says; t runs from 1 to 0.
Grid sine(const GridOptions& o) {
  Grid grid;
  for (int64_t i = 0; i <= o.steps; ++i) {
    const double s = 1 - static_cast<double>(i) / static_cast<double>(o.steps);
    const double sigma = square(std::sin(s * std::numbers::pi / 2));
    const double alpha = std::sqrt(1 - square(sigma));
    grid.levels.push_back({alpha, sigma, std::atan2(sigma, alpha) / std::numbers::pi * 2});
  }
  return grid;
}

// sigma/alpha of an entry. Where no signal is left alpha_cumprod is taken to be 2^-24, which may be
// more than the entry before it has.
double ratio_of(const Schedule& schedule, int64_t k) {
  const Level level = schedule.level(k);
  return level.alpha > 0 ? noise_ratio(level) : std::sqrt(std::exp2(24) - 1);
}

// sigma/alpha at a fractional t: linear between the entries, not in their logarithm.
double linear_ratio(const Schedule& schedule, double t) {
  const int64_t k = std::min(static_cast<int64_t>(t), schedule.size() - 1);
  const double here = ratio_of(schedule, k), fraction = t - static_cast<double>(k);
  if (fraction == 0) return here;
  return here + fraction * (ratio_of(schedule, k + 1) - here);
}

// Euler, Heun and their like: linspace is not rounded, karras and exponential run between the ends
// of the list that the spacing gave, and the noise that they begin with is scaled.
Grid fractional(const Process& process, const GridOptions& o, const std::string& list) {
  const int64_t T = process.schedule().size(), N = o.steps;
  Grid grid({}, vp_path(process.schedule()));
  std::vector<double> ratios, times;
  for (const int64_t t : timesteps(list, T, N, o.offset)) times.push_back(static_cast<double>(t));
  if (list == "linspace" && N > 1)
    for (int64_t i = 0; i < N; ++i)
      times[i] = static_cast<double>(T - 1) * static_cast<double>(N - 1 - i) / (N - 1);
  for (const double t : times) ratios.push_back(linear_ratio(process.schedule(), t));
  if (between_timesteps(o.spacing)) {
    ratios = noise_ratios(o.spacing, N, ratios.front(), ratios.back(), o.rho);
    for (int64_t i = 0; i < N; ++i) times[i] = grid.path.at_ratio(ratios[i]).t;
    if (o.scheduler == "KDPM2DiscreteScheduler" && o.spacing == "karras")
      for (double& t : times) t = std::nearbyint(t);
  }
  for (int64_t i = 0; i < N; ++i)
    grid.levels.push_back(told(grid.path.at_ratio(ratios[i]), times[i]));
  grid.levels.push_back(process.end());
  if (list != "leading") grid.init = grid.levels.front().sigma;
  return grid;
}

// DPM-Solver, UniPC and DEIS: N + 1 entries of which the last is left out, whole timesteps, and
// karras and exponential over the whole table.
Grid whole(const Process& process, const GridOptions& o) {
  const Schedule& schedule = process.schedule();
  const int64_t N = o.steps;
  const bool deis = o.scheduler == "DEISMultistepScheduler";
  Grid grid({}, vp_path(schedule));
  if (between_timesteps(o.spacing)) {
    const bool cosine = process.options().beta_schedule == "squaredcos_cap_v2";
    const bool dpm = o.scheduler == "DPMSolverMultistepScheduler";
    const bool rounds =
        o.spacing == "karras" ? !(dpm && cosine) : o.spacing == "log_snr" && !cosine;
    const double high = ratio_of(schedule, schedule.size() - 1);
    for (const double r : noise_ratios(o.spacing, N, high, noise_ratio(schedule.level(0)), o.rho)) {
      const Level at = grid.path.at_ratio(r);
      grid.levels.push_back(told(at, rounds ? std::nearbyint(at.t) : std::trunc(at.t)));
    }
    grid.levels.push_back(deis ? grid.levels.back() : process.end());
  } else {
    std::vector<int64_t> list = plain_timesteps(process, o, o.spacing == "trailing" ? N : N + 1);
    list.resize(N);
    grid.levels = process.levels_at(list);
    if (grid.levels[0].alpha == 0) grid.levels[0] = vp_level(ratio_of(schedule, list[0]), list[0]);
    if (deis) grid.levels.back() = schedule.level(0);
  }
  return grid;
}

}  // namespace

Grid diffusers_grid(const Process& process, const GridOptions& o) {
  const int64_t T = process.schedule().size();
  if (o.steps < 1 || o.steps > T) fail("[process] steps: {} is outside 1..{}", o.steps, T);
  if (!o.timesteps.empty()) fail("[process] a list of timesteps is not one of {}'s", o.scheduler);
  const auto require = [&](std::initializer_list<const char*> names) {
    if (!one_of(o.spacing, names))
      fail("[process] spacing {}: not one of {}'s; known: {}", o.spacing, o.scheduler,
           fmt::join(names, ", "));
  };
  if (o.scheduler == "IPNDMScheduler") return sine(o);
  if (one_of(o.scheduler, {"DDPMScheduler", "DDIMScheduler", "PNDMScheduler"})) {
    require({"leading", "linspace", "trailing"});
    return chain(process, o);
  }
  if (o.scheduler == "EulerAncestralDiscreteScheduler")
    require({"leading", "linspace", "trailing"});
  else if (o.scheduler == "DPMSolverMultistepScheduler")
    require({"leading", "linspace", "trailing", "karras", "exponential", "log_snr"});
  else
    require({"leading", "linspace", "trailing", "karras", "exponential"});
  if (one_of(o.scheduler,
             {"DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"}))
    return whole(process, o);
  return fractional(process, o, between_timesteps(o.spacing) ? o.list : o.spacing);
}

}  // namespace tweedie

#include "tweedie/process/grid.h"

#include <algorithm>
#include <cmath>

#include "tweedie/process/timesteps.h"

namespace tweedie {
namespace {

// The noisiest level that still holds signal, and the cleanest.
std::pair<double, double> range_of(const Schedule& schedule) {
  int64_t k = schedule.size() - 1;
  if (schedule.level(k).alpha == 0) --k;
  return {noise_ratio(schedule.level(k)), noise_ratio(schedule.level(0))};
}

// sigma/alpha of N levels between the timesteps.
std::vector<double> ratios_of(const Schedule& schedule, const GridOptions& o) {
  const auto [noisiest, cleanest] = range_of(schedule);
  const double high = o.sigma_max ? o.sigma_max : noisiest;
  const double low = o.sigma_min ? o.sigma_min : cleanest;
  if (!(cleanest <= low && low < high && (!o.sigma_max || high < noisiest)))
    fail(
        "[process] sigma_min {:.4g}, sigma_max {:.4g}: expected {:.4g} <= sigma_min < sigma_max < "
        "{:.4g}",
        low, high, cleanest, noisiest);
  if (!o.sigma_max) return noise_ratios(o.spacing, o.steps, high, low, o.rho);
  std::vector<double> ratios{noisiest};
  if (o.steps == 1) return ratios;
  for (const double r : noise_ratios(o.spacing, o.steps - 1, high, low, o.rho)) ratios.push_back(r);
  return ratios;
}

std::vector<std::string> with_respacings(std::vector<std::string> known) {
  for (const char* such : {"250", "10,15,20", "ddim50"}) known.push_back(such);
  return known;
}

}  // namespace

Path path_of(const Process& process) {
  const std::string& path = process.options().path;
  return path == "edm" ? ve_path() : path == "flow" ? flow_path() : vp_path(process.schedule());
}

Level Grid::landing(int64_t i) const {
  if (stride == 0) return levels[i + 1];
  const double t = levels[i].t - static_cast<double>(stride);
  return t < 0 ? levels.back() : path.at_time(t);
}

bool between_timesteps(const std::string& spacing) {
  return spacing == "karras" || spacing == "exponential" || spacing == "log_snr";
}

std::vector<std::string> spacing_names() {
  return {"leading", "linspace", "trailing", "quadratic", "karras", "exponential", "log_snr"};
}

Grid make_grid(const Process& process, const GridOptions& options) {
  if (!options.scheduler.empty()) return diffusers_grid(process, options);
  const int64_t T = process.schedule().size(), N = options.steps;
  const std::string& spacing = options.spacing;
  const auto begun = [&](std::vector<Level> levels) {
    Grid grid(std::move(levels), path_of(process));
    grid.init = process.initial_std(grid.levels.front());
    return grid;
  };
  if (!options.timesteps.empty()) return begun(process.levels_at(options.timesteps));
  if (is_respacing(spacing)) return begun(process.levels_at(respaced(spacing, T)));
  const std::vector<std::string> known = spacing_names();
  if (std::find(known.begin(), known.end(), spacing) == known.end())
    fail_unknown("spacing", spacing, with_respacings(known));
  if (!between_timesteps(spacing)) return begun(process.levels(N, spacing, options.offset));

  if (N < 1 || N > T) fail("[process] steps: {} is outside 1..{}", N, T);
  if (!(options.rho > 0)) fail("[process] rho: {} must be above 0", options.rho);
  const Path path = path_of(process);
  std::vector<Level> levels;
  for (const double r : ratios_of(process.schedule(), options)) levels.push_back(path.at_ratio(r));
  levels.push_back(process.end());
  return begun(levels);
}

}  // namespace tweedie

// The list of schedules, for options, help and menus.
#pragma once
#include <string>
#include <vector>

namespace tweedie {

struct ProcessOptions;

struct ScheduleInfo {
  const char* name;
  std::vector<double> (*betas)(const ProcessOptions& options);
  const char* about;  ///< one line with its source
};
/// In the order of schedules.inc.
const std::vector<ScheduleInfo>& schedules();
std::vector<std::string> schedule_names();
/// These and learned, which has no formula: it is trained, and kept as trained_betas.
std::vector<std::string> beta_schedules();

}  // namespace tweedie

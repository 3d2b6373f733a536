#include "profiling.h"

namespace tweedie::cli {

Profiling::Profiling(bool on, ProgressBar& bar) : bar_(bar) {
  if (on) profile_.emplace();
}

void Profiling::operator()(const Progress& progress) {
  if (profile_) profile_->step();
  bar_(progress);
}

void Profiling::end() {
  if (ended_) return;
  ended_ = true;
  bar_.finish();
  if (!profile_) return;
  for (const std::string& line : profile_->report().lines()) notice(line);
}

void Profiling::add_to(Json& json) const {
  if (profile_) json["profile"] = profile_->report().json();
}

}  // namespace tweedie::cli

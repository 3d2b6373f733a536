// --profile of train and sample.
#pragma once
#include <optional>

#include "cli.h"
#include "tweedie/pipeline/profile.h"

namespace tweedie::cli {

/// Watches the steps that drive a bar; shows the table however they end.
class Profiling {
 public:
  Profiling(bool on, ProgressBar& bar);
  ~Profiling() { end(); }
  Profiling(const Profiling&) = delete;
  /// For one step.
  void operator()(const Progress& progress);
  /// Finishes the bar and shows the table on standard error, once.
  void end();
  /// Adds "profile" if it is on.
  void add_to(Json& json) const;

 private:
  ProgressBar& bar_;
  std::optional<Profile> profile_;
  bool ended_ = false;
};

}  // namespace tweedie::cli

// How long work reports on itself and is stopped: the library never prints and handles no signals.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tweedie/core/error.h"

namespace tweedie {

/// Asks work to stop. Copies share one flag; cancel() is safe from other threads and signal
/// handlers.
class CancelToken {
 public:
  void cancel() const { flag_->store(true); }
  bool cancelled() const { return flag_->load(); }
  /// Throws Error(kInterrupted) once cancel() was called.
  void check() const {
    if (cancelled()) throw Error(Error::Kind::kInterrupted, "interrupted");
  }

 private:
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

/// A look at work under way.
struct Progress {
  int64_t done = 0, total = 0;  ///< in `unit`; total 0 = unknown
  const char* unit = "step";
  double seconds = 0;                                  ///< since the work began
  std::vector<std::pair<std::string, double>> values;  ///< "loss" 0.031, "grad_norm" 0.4, ...
};
using ProgressFn = std::function<void(const Progress&)>;

/// Receives facts the user should read, one line each ("resumed at step 400").
using NoticeFn = std::function<void(const std::string&)>;

}  // namespace tweedie

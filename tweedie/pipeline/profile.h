// Where the time of a training or a sampling goes, by kind of layer.
//
//   Profile profile;
//   generate(model, request, plan, {.images = keep, .progress = [&](auto&) { profile.step(); }});
//   for (const std::string& line : profile.report().lines()) say(line);
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tweedie/core/options.h"

namespace tweedie {

struct ProfileRow {
  std::string kind;
  bool kernel;     ///< the work itself, not what is around it
  double seconds;  ///< in events of this kind and in none inside them of another
  double flop;     ///< of its products by the direct method
};

/// Everything but the first step, the warm-up.
struct ProfileReport {
  int64_t steps = 0;  ///< measured; with 0 there are no figures
  double seconds = 0;
  int threads = 0;
  std::string instruction_set;
  double peak = 0;               ///< FLOP/s of float32 multiply-adds, measured
  std::vector<ProfileRow> rows;  ///< their seconds are all of `seconds`
  // Of tensors on the CPU, by the thread that trains or samples:
  double allocations = 0, allocated_bytes = 0;  ///< a step
  int64_t growth = 0;  ///< bytes that tensors hold after the last step minus after the second
  // Of the process; 0 where the system does not tell:
  int64_t resident_early = 0, resident_last = 0;  ///< bytes in memory after the second step, the
                                                  ///< last
  double kernel_seconds() const;
  /// A table for the user to read.
  std::vector<std::string> lines() const;
  Json json() const;
};

/// Watches the thread that made it, for as long as it lives; one at a time a thread. Costs a
/// microsecond an operation, and nothing where none lives.
class Profile {
 public:
  /// Measures the machine's peak first, for 50 ms.
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;

  /// A step has ended: what came after the last call counts from here on.
  void step();
  ProfileReport report() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tweedie

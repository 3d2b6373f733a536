// Runs the program as a user would.
#pragma once
#include <string>
#include <vector>

namespace tweedie::testing {

struct Outcome {
  int code = -1;  ///< exit code, or 128 + signal
  std::string out, err;
  /// Lines of standard error.
  std::vector<std::string> lines() const;
};

/// `tweedie ARGS...` (a shell line; run in `folder`), one thread.
Outcome run(const std::string& args, const std::string& folder = ".");

}  // namespace tweedie::testing

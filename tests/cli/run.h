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

/// A shell line in `folder` in which `tweedie` is the program ("$TWEEDIE" its path), on one thread.
Outcome shell(const std::string& line, const std::string& folder = ".");
/// `tweedie ARGS...`
Outcome run(const std::string& args, const std::string& folder = ".");
/// Expects `tweedie ARGS...` to be a mistake: exit code 2, nothing printed, and one line of error
/// that holds each of `words`.
void expect_mistake(const std::string& args, const std::vector<std::string>& words,
                    const std::string& folder = ".");

}  // namespace tweedie::testing

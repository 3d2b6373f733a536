// The one exception type of the library, and the messages that name a value and the known choices.
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tweedie/core/format.h"

namespace tweedie {

/// Everything the library throws. what() is one line. The command line exits with 2 for kUser, 1
/// for kSystem and 130 for kInterrupted.
class Error : public std::runtime_error {
 public:
  enum class Kind {
    kUser,        ///< a wrong value, key, file or folder: the caller can mend it
    kSystem,      ///< the machine failed: no space, an unwritable file, no memory
    kInterrupted  ///< a CancelToken was set; what was finished is saved
  };
  Error(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

/// Throws the user's mistake: fail("[data] {}: not an IDX file", path).
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Error::Kind::kUser, vformatted(format, fmt::make_format_args(args...)));
}

/// Throws a failure of the machine; name the file and give the system's reason.
template <class... Args>
[[noreturn]] void fail_system(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(Error::Kind::kSystem, vformatted(format, fmt::make_format_args(args...)));
}

/// The known word nearest to `value` if it is near enough to be a slip of the hand, else "".
std::string nearest(std::string_view value, const std::vector<std::string>& known);

/// "unknown sampler 'dimm'; did you mean ddim? known: ddpm, ddim"
std::string unknown_message(std::string_view what, std::string_view value,
                            const std::vector<std::string>& known);

/// Throws unknown_message as the user's mistake.
[[noreturn]] void fail_unknown(std::string_view what, std::string_view value,
                               const std::vector<std::string>& known);

}  // namespace tweedie

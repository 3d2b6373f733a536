#include "tweedie/core/format.h"

namespace tweedie {

std::string vformatted(fmt::string_view format, fmt::format_args args) {
  return fmt::vformat(format, args);
}

}  // namespace tweedie

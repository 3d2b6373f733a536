// Text from values, in fmt's syntax: formatted("{} of {}", i, n). fmt is header-only here (LibTorch
// ships its headers and no library); behind this function its machinery is compiled once, and not
// in every source.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>

namespace tweedie {

std::string vformatted(fmt::string_view format, fmt::format_args args);

template <class... Args>
std::string formatted(fmt::format_string<Args...> format, Args&&... args) {
  return vformatted(format, fmt::make_format_args(args...));
}

}  // namespace tweedie

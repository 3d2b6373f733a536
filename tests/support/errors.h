// What an error says.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "tweedie/core/error.h"

namespace tweedie::testing {

/// The message of the Error that `body` throws, which must be of `kind` and one line; "" if it
/// throws none.
template <class Body>
std::string message_of(Body&& body, Error::Kind kind = Error::Kind::kUser) {
  try {
    body();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.kind(), kind) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_NE(message, "");
    return message;
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace tweedie::testing

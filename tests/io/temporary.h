// A folder of its own for each test.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/scratch.h"

namespace tweedie {

class InTemporaryFolder : public ::testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  std::filesystem::path put(const std::string& name, const std::string& bytes) const {
    std::filesystem::remove(path(name));  // ext4 writes a replaced file to disk at once
    folder_.write(name, bytes);
    return path(name);
  }
  static std::string get(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t entries() const {
    return std::distance(std::filesystem::directory_iterator(folder_.path()), {});
  }

  testing::Scratch folder_;
};

/// What the Error thrown by `body` says, with its kind in front: "user: ...". "" if it throws none.
template <class Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return (error.kind() == Error::Kind::kUser ? "user: " : "system: ") + std::string(error.what());
  }
  return "";
}

/// Expects a one-line error that contains each of `words`.
template <class Body, class... Words>
void expect_error(Body&& body, const Words&... words) {
  const std::string error = error_of(body);
  EXPECT_NE(error, "") << "no error";
  EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  for (const std::string& word : {std::string(words)...})
    EXPECT_NE(error.find(word), std::string::npos) << "no '" << word << "' in: " << error;
}

}  // namespace tweedie

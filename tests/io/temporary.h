// A folder of its own for each test.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tweedie/core/error.h"

namespace tweedie {

class InTemporaryFolder : public testing::Test {
 protected:
  InTemporaryFolder() {
    std::string pattern = testing::TempDir() + "/tweedie-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~InTemporaryFolder() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  std::filesystem::path put(const std::string& name, const std::string& bytes) const {
    std::filesystem::remove(
        path(name));  // ext4 writes a file to disk at once if it replaces its content
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  static std::string get(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t entries() const { return std::distance(std::filesystem::directory_iterator(folder_), {}); }

  std::filesystem::path folder_;
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

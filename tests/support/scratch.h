// A folder that is removed at the end.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tweedie/core/error.h"

namespace tweedie::testing {

class Scratch {
 public:
  Scratch() {
    path_ = std::filesystem::temp_directory_path() / "tweedie-XXXXXX";
    if (!mkdtemp(path_.data())) fail_system("{}: cannot be made", path_);
  }
  ~Scratch() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  /// Makes the folders that `name` lies in.
  void write(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path file = *this / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
  }

 private:
  std::string path_;
};

}  // namespace tweedie::testing

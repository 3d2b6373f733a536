// A file seen as memory.
#pragma once
#include <filesystem>
#include <memory>
#include <string_view>

namespace tweedie {

/// A private mapping: writing into it changes this process's copy of the page and never the file.
class MappedFile {
 public:
  /// Throws Error (user) naming the file if it cannot be opened or mapped.
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  char* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view bytes() const { return {data_, size_}; }

 private:
  char* data_ = nullptr;  // null for an empty file
  size_t size_ = 0;
};

}  // namespace tweedie

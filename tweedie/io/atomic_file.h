// A file that appears under its name whole, or not at all.
#pragma once
#include <filesystem>
#include <string_view>

namespace tweedie {

/// Collects bytes in a temporary file beside `target`; commit() syncs it to disk and renames it.
/// Without commit() nothing is left behind. A symbolic link is followed; a device (/dev/null) is
/// written directly. Every failure throws Error (system) that names the target and the system's
/// reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  /// Without `durable` a power cut, though no kill, may lose the file: for the many that can be
  /// made again.
  void commit(bool durable = true);

 private:
  std::filesystem::path target_, temporary_;  // temporary_ is empty for a device
  int file_ = -1;
};

/// ".NAME.PID-N.tmp" beside `target`, not used before in this process.
/// Tells this process from earlier ones of the same number: in a container every first one is 1.
const std::string& process_token();
std::filesystem::path temporary_beside(const std::filesystem::path& target);
/// fsync of a file or folder. Throws Error (system).
void sync_to_disk(const std::filesystem::path& path);
/// The folder that holds `path`, "." for a bare name.
std::filesystem::path parent_of(const std::filesystem::path& path);

}  // namespace tweedie

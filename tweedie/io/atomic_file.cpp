#include "tweedie/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "tweedie/core/error.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

[[noreturn]] void fail_write(const fs::path& target, const char* what, int reason) {
  fail_system("{}: cannot {}: {}", target.string(), what, std::strerror(reason));
}

// A write that only shows its failure at close (NFS, quotas) must not pass for a success.
void close_checked(int file, const fs::path& target) {
  if (::close(file) != 0 && errno != EINTR) fail_write(target, "close", errno);
}

}  // namespace

fs::path parent_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

const std::string& process_token() {
  static const std::string token = formatted("{:08x}", std::random_device{}());
  return token;
}

fs::path temporary_beside(const fs::path& target) {
  static std::atomic<unsigned> next{0};
  // A file name has at most 255 bytes.
  const std::string name = target.filename().string().substr(0, 200);
  return parent_of(target) /
         formatted(".{}.{}-{}-{}.tmp", name, ::getpid(), process_token(), next++);
}

void sync_to_disk(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail_write(path, "open", errno);
  // Some file systems cannot sync a folder and say EINVAL.
  const bool failed = ::fsync(file) != 0 && errno != EINVAL;
  const int reason = errno;
  ::close(file);
  if (failed) fail_write(path, "sync", reason);
}

AtomicFile::AtomicFile(const fs::path& target) : target_(target) {
  struct stat status;
  if (::stat(target.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) fail_write(target, "write", EISDIR);
    if (!S_ISREG(status.st_mode)) {
      file_ = ::open(target.c_str(), O_WRONLY | O_CLOEXEC);
      if (file_ < 0) fail_write(target, "open", errno);
      return;
    }
    std::error_code ignored;
    if (fs::is_symlink(target, ignored)) target_ = fs::canonical(target, ignored);
  }
  do {  // a name is taken if an earlier process of this number was killed
    temporary_ = temporary_beside(target_);
    file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (file_ < 0 && errno == EEXIST);
  if (file_ < 0) fail_write(target_, "create", errno);
}

AtomicFile::~AtomicFile() {
  if (file_ >= 0) ::close(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_write(target_, "write", errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void AtomicFile::commit(bool durable) {
  if (temporary_.empty()) return close_checked(std::exchange(file_, -1), target_);
  if (durable && ::fsync(file_) != 0) fail_write(target_, "sync", errno);
  close_checked(std::exchange(file_, -1), target_);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_write(target_, "rename", errno);
  temporary_.clear();
  if (durable) sync_to_disk(parent_of(target_));
}

}  // namespace tweedie

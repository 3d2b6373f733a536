#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "tweedie/io/atomic_file.h"
#include "tweedie/io/files.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

// A folder that goes when it goes out of scope, whatever happens.
struct Passing {
  fs::path path;
  ~Passing() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
};

// Sweeps up what killed processes left: folders ".NAME.PID-TOKEN-N.tmp" whose process is gone.
void remove_leftovers(const fs::path& folder) {
  const std::string head = "." + folder.filename().string().substr(0, 200) + ".";
  std::error_code error;
  for (fs::directory_iterator entry(parent_of(folder), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(head) || !name.ends_with(".tmp")) continue;
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data() + head.size(), name.data() + name.size(), pid);
    if (parsed.ec != std::errc() || *parsed.ptr != '-' || pid <= 0) continue;
    const bool ours = std::string_view(parsed.ptr + 1).starts_with(process_token());
    const bool alive = pid == ::getpid() ? ours : ::kill(pid, 0) == 0 || errno != ESRCH;
    std::error_code ignored;
    if (!alive) fs::remove_all(entry->path(), ignored);
  }
}

void sync_tree(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_directory() || (entry.is_regular_file() && !entry.is_symlink()))
      sync_to_disk(entry.path());
  sync_to_disk(folder);
}

int exchange(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
}

int move(const fs::path& from, const fs::path& to) { return ::rename(from.c_str(), to.c_str()); }

// Puts `filled` in the place of `folder`. Afterwards `filled` holds what was there before, if
// anything.
void put_in_place(const fs::path& filled, const fs::path& folder) {
  const auto check = [&](int result) {
    if (result != 0) fail_system("{}: cannot rename: {}", folder.string(), std::strerror(errno));
  };
  if (!fs::exists(folder)) return check(move(filled, folder));
  if (exchange(filled, folder) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) check(-1);
  // A file system that cannot exchange (some network ones): for an instant only the aside name
  // exists.
  const fs::path aside = temporary_beside(folder).replace_extension(".old");
  check(move(folder, aside));
  if (move(filled, folder) != 0) {
    const int reason = errno;
    move(aside, folder);
    errno = reason;
    check(-1);
  }
  fs::remove_all(aside);
}

}  // namespace

void write_folder(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  try {
    fs::path target = folder.has_filename() ? folder : folder.parent_path();
    if (fs::is_symlink(target)) target = fs::canonical(target);
    if (fs::exists(target) && !fs::is_directory(target))
      fail_system("{}: cannot write a folder: a file of that name is in the way", folder.string());
    fs::create_directories(parent_of(target));
    remove_leftovers(target);
    Passing temporary;
    do temporary.path = temporary_beside(target);
    while (!fs::create_directory(temporary.path));
    fill(temporary.path);
    sync_tree(temporary.path);
    put_in_place(temporary.path, target);
    sync_to_disk(parent_of(target));
  } catch (const fs::filesystem_error& error) {
    fail_system("{}: cannot write the folder: {}", folder.string(), error.code().message());
  }
}

}  // namespace tweedie

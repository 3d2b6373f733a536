#include "tweedie/io/files.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace fs = std::filesystem;

namespace tweedie {
namespace {

constexpr size_t kInflatedLimit = size_t{4} << 30;

std::string reason() { return std::strerror(errno); }

fs::path temporary_beside(const fs::path& target) {
  static std::atomic<int> count{0};
  return target.parent_path() /
         fmt::format(".{}.{}.{}.tmp", target.filename().string(), getpid(), count++);
}

std::string inflate_all(const fs::path& file, const std::string& bytes) {
  z_stream stream = {};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) fail_system("{}: zlib does not start", file.string());
  std::string out;
  std::string chunk(1 << 18, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  int status = Z_OK;
  while (status == Z_OK && out.size() <= kInflatedLimit) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (out.size() > kInflatedLimit) fail("{}: more than 4 GiB when unpacked", file.string());
  if (status == Z_BUF_ERROR) fail("{}: the gzip data ends early", file.string());
  if (status != Z_STREAM_END) fail("{}: the gzip data is corrupt", file.string());
  return out;
}

}  // namespace

std::string read_file(const fs::path& file) {
  std::error_code error;
  if (fs::is_directory(file, error)) fail("{}: a folder, not a file", file.string());
  std::ifstream in(file, std::ios::binary);
  if (!in) fail("{}: {}", file.string(), reason());
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  if (in.bad()) fail("{}: cannot be read", file.string());
  const bool gzip = bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
  return gzip ? inflate_all(file, bytes) : bytes;
}

void write_file(const fs::path& file, std::string_view bytes) {
  const fs::path temporary = temporary_beside(file);
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) fail_system("{}: {}", file.string(), reason());
  const auto give_up = [&] {
    const std::string why = reason();
    close(fd);
    unlink(temporary.c_str());
    fail_system("{}: {}", file.string(), why);
  };
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) give_up();
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  if (fsync(fd) != 0) give_up();
  if (close(fd) != 0 || rename(temporary.c_str(), file.c_str()) != 0) {
    const std::string why = reason();
    unlink(temporary.c_str());
    fail_system("{}: {}", file.string(), why);
  }
}

Json read_json(const fs::path& file) {
  const std::string text = read_file(file);
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& e) {
    const size_t end = std::min<size_t>(e.byte, text.size());
    fail("{}:{}: not JSON", file.string(), 1 + std::count(text.begin(), text.begin() + end, '\n'));
  }
}

void write_json(const fs::path& file, const Json& json) { write_file(file, json.dump(2) + "\n"); }

void write_folder(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  const fs::path temporary = temporary_beside(folder);
  std::error_code error;
  fs::create_directories(temporary, error);
  if (error) fail_system("{}: {}", folder.string(), error.message());
  try {
    fill(temporary);
    if (rename(temporary.c_str(), folder.c_str()) != 0) {
      // The old folder is not empty: exchange the two in one step, then remove it under the temporary name.
      if (syscall(SYS_renameat2, AT_FDCWD, temporary.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) != 0)
        fail_system("{}: {}", folder.string(), reason());
      fs::remove_all(temporary, error);
    }
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
}

void require_writable(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("{}: {}", folder.string(), error.message());
  if (access(folder.c_str(), W_OK | X_OK) != 0) fail("{}: {}", folder.string(), reason());
}

}  // namespace tweedie

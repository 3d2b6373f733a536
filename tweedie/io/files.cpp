#include "tweedie/io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tweedie/io/atomic_file.h"
#include "tweedie/io/gzip.h"
#include "tweedie/io/json.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

// A file that is not there or not ours to read is the user's affair; no descriptors, no memory, a
// lost mount are not.
[[noreturn]] void fail_open(const fs::path& file, int reason) {
  constexpr int kMachine[] = {EMFILE, ENFILE, ENOMEM, EIO, ESTALE, EINTR};
  const bool machine =
      std::find(std::begin(kMachine), std::end(kMachine), reason) != std::end(kMachine);
  throw Error(machine ? Error::Kind::kSystem : Error::Kind::kUser,
              formatted("{}: cannot open: {}", file.string(), std::strerror(reason)));
}

}  // namespace

std::string read_file(const fs::path& file) {
  const Descriptor in{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
  if (in.value < 0) fail_open(file, errno);
  struct stat status;
  if (::fstat(in.value, &status) != 0) fail_system("{}: {}", file.string(), std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail("{}: is a folder, not a file", file.string());
  std::string bytes;
  size_t used = 0;
  // One byte more than the size, so that a regular file ends within the first round.
  size_t room = S_ISREG(status.st_mode) ? static_cast<size_t>(status.st_size) + 1 : 65536;
  while (true) {
    if (std::max(room, used) > kLargestFile + 1)
      fail("{}: larger than {} bytes", file.string(), kLargestFile);
    bytes.resize(std::max(room, used + 1));
    const ssize_t got = ::read(in.value, bytes.data() + used, bytes.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system("{}: cannot read: {}", file.string(), std::strerror(errno));
    if (got == 0) break;
    used += static_cast<size_t>(got);
    if (used == bytes.size()) room = 2 * used;
  }
  bytes.resize(used);
  return is_gzip(bytes) ? gunzip(bytes, file.string()) : bytes;
}

void write_file(const fs::path& file, std::string_view bytes) {
  AtomicFile out(file);
  out.write(bytes);
  out.commit();
}

Json read_json(const fs::path& file) { return parse_json<Json>(read_file(file), file.string()); }

void write_json(const fs::path& file, const Json& json) {
  std::string text;
  try {
    text = json.dump(2);
  } catch (const Json::exception&) {
    fail("{}: cannot write a string that is not UTF-8 as JSON", file.string());
  }
  write_file(file, text + "\n");
}

void require_writable(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (!fs::is_directory(folder))
    fail("{}: cannot make this folder: {}", folder.string(),
         error ? error.message() : std::string("a file of that name is in the way"));
  std::string probe = (folder / ".tweedie-XXXXXX").string();
  const Descriptor file{::mkstemp(probe.data())};
  if (file.value < 0) fail("{}: cannot write here: {}", folder.string(), std::strerror(errno));
  ::unlink(probe.c_str());
  if (::write(file.value, "x", 1) != 1)
    fail("{}: cannot write here: {}", folder.string(), std::strerror(errno));
}

}  // namespace tweedie

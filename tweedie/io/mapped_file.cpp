#include "tweedie/io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tweedie/core/error.h"

namespace tweedie {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const bool known = ::fstat(file, &status) == 0;
  void* data = nullptr;
  if (known && S_ISREG(status.st_mode) && status.st_size > 0)
    data = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_NORESERVE, file, 0);
  const int reason = errno;
  ::close(file);
  if (S_ISDIR(status.st_mode)) fail("{}: is a folder, not a file", path.string());
  if (known && !S_ISREG(status.st_mode)) fail("{}: not a regular file", path.string());
  if (!known || data == MAP_FAILED)
    fail("{}: cannot read: {}", path.string(), std::strerror(reason));
  data_ = static_cast<char*>(data);
  size_ = static_cast<size_t>(status.st_size);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

}  // namespace tweedie

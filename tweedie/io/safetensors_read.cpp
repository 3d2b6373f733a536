#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "tweedie/core/options.h"
#include "tweedie/io/safetensors.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

constexpr uint64_t kHeaderLimit = 100'000'000;

struct Mapping {
  Mapping(const fs::path& file) {
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail("{}: {}", file.string(), std::strerror(errno));
    struct stat status = {};
    fstat(fd, &status);
    size = S_ISREG(status.st_mode) ? static_cast<size_t>(status.st_size) : 0;
    if (size > 0) {
      void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
      data = at == MAP_FAILED ? nullptr : static_cast<char*>(at);
    }
    close(fd);
    if (!data) fail("{}: not a safetensors file: it is empty or cannot be mapped", file.string());
  }
  ~Mapping() { munmap(data, size); }
  char* data = nullptr;
  size_t size = 0;
};

at::ScalarType dtype_of(const std::string& name, const std::string& where) {
  static const std::map<std::string, at::ScalarType> known = {
      {"BOOL", at::kBool}, {"U8", at::kByte},      {"I8", at::kChar},     {"I16", at::kShort},
      {"F16", at::kHalf},  {"BF16", at::kBFloat16}, {"I32", at::kInt},    {"F32", at::kFloat},
      {"F64", at::kDouble}, {"I64", at::kLong}};
  const auto found = known.find(name);
  if (found == known.end()) fail("{}: dtype {} is not known", where, name);
  return found->second;
}

}  // namespace

TensorMap read_safetensors(const fs::path& file, std::map<std::string, std::string>* metadata) {
  const auto mapping = std::make_shared<Mapping>(file);
  const auto bad = [&](const std::string& why) { fail("{}: not a safetensors file: {}", file.string(), why); };
  uint64_t length = 0;
  if (mapping->size < 8) bad("shorter than its header");
  std::memcpy(&length, mapping->data, 8);
  if (length > kHeaderLimit || length > mapping->size - 8) bad("the header's length is beyond the file");
  const Json header = Json::parse(mapping->data + 8, mapping->data + 8 + length, nullptr, false);
  if (!header.is_object()) bad("the header is not a JSON object");
  const uint64_t data_size = mapping->size - 8 - length;
  TensorMap tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (metadata)
        for (const auto& [key, value] : entry.items()) (*metadata)[key] = value.get<std::string>();
      continue;
    }
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets") || entry["data_offsets"].size() != 2)
      bad("entry " + name + " is incomplete");
    const at::ScalarType dtype = dtype_of(entry["dtype"].get<std::string>(), file.string());
    const auto shape = entry["shape"].get<std::vector<int64_t>>();
    const uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    uint64_t bytes = c10::elementSize(dtype);
    for (const int64_t side : shape)
      if (side < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(side), &bytes))
        bad("the shape of " + name + " overflows");
    if (begin > end || end > data_size || end - begin != bytes) bad("the offsets of " + name + " do not fit");
    char* at = mapping->data + 8 + length + begin;
    const auto options = at::TensorOptions().dtype(dtype);
    if (reinterpret_cast<uintptr_t>(at) % c10::elementSize(dtype) == 0) {
      tensors[name] = at::from_blob(at, shape, [mapping](void*) {}, options);
    } else {
      tensors[name] = at::empty(shape, options);
      std::memcpy(tensors[name].data_ptr(), at, bytes);
    }
  }
  return tensors;
}

}  // namespace tweedie

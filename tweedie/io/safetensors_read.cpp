#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "tweedie/core/error.h"
#include "tweedie/io/dtypes.h"
#include "tweedie/io/json.h"
#include "tweedie/io/mapped_file.h"
#include "tweedie/io/safetensors.h"

namespace tweedie {
namespace {

using safetensors::DtypeInfo;
using safetensors::kDtypes;

constexpr uint64_t kLongestHeader = 100'000'000;  // as the reference reader has it
constexpr size_t kMostDims = 64;                  // LibTorch's own limit in most kernels

struct Entry {
  std::string name;
  const DtypeInfo* dtype = nullptr;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;
};

// Header text, its JSON and the data that follow it.
struct Parts {
  nlohmann::json header;
  uint64_t data_start = 0, data_size = 0;
};

Parts split(std::string_view bytes, const std::string& file) {
  if (bytes.size() < 8) fail("{}: {} bytes, too short for a safetensors file", file, bytes.size());
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | static_cast<uint8_t>(bytes[i]);
  if (length > kLongestHeader)
    fail("{}: not safetensors: its header would have {} bytes, at most {} are allowed", file,
         length, kLongestHeader);
  if (length > bytes.size() - 8)
    fail("{}: truncated: a header of {} bytes in a file of {}", file, length, bytes.size());
  const std::string_view text = bytes.substr(8, length);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{')
    fail("{}: not safetensors: its header is not a JSON object", file);
  Parts parts;
  parts.header = parse_json<nlohmann::json>(text, file, kLongestHeader);
  parts.data_start = 8 + length;
  parts.data_size = bytes.size() - parts.data_start;
  return parts;
}

const DtypeInfo& find_dtype(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const DtypeInfo& dtype : kDtypes) {
    if (dtype.name == name && dtype.type) return dtype;
    if (dtype.type) known.emplace_back(dtype.name);
  }
  fail("{}: unknown dtype {}; known: {}", where, in_quotes(name), fmt::join(known, ", "));
}

uint64_t natural(const nlohmann::json& value, const std::string& where, const char* what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX})
    fail("{}: {} has {}, not a whole number of 0 or more", where, what,
         in_quotes(value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)));
  return value.get<uint64_t>();
}

const nlohmann::json& field(const nlohmann::json& entry, const char* key,
                            const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end()) fail("{}: has no {}", where, key);
  return *found;
}

// Bytes that a tensor of this type and shape fills.
uint64_t bytes_of(const DtypeInfo& dtype, const std::vector<int64_t>& shape,
                  const std::string& where) {
  // Zeros count as one here: LibTorch's strides overflow even where there are no elements.
  uint64_t elements = 1, bytes = 0;
  bool overflow = false, empty = false;
  for (const int64_t size : shape) {
    empty |= size == 0;
    overflow |= __builtin_mul_overflow(elements, static_cast<uint64_t>(std::max<int64_t>(size, 1)),
                                       &elements);
  }
  overflow |= __builtin_mul_overflow(elements, static_cast<uint64_t>(dtype.bits / 8), &bytes);
  if (overflow || bytes > uint64_t{INT64_MAX}) fail("{}: its shape overflows", where);
  return empty ? 0 : bytes;
}

Entry parse_entry(const std::string& name, const nlohmann::json& json, uint64_t data_size,
                  const std::string& where) {
  if (!json.is_object()) fail("{}: its header entry is not an object", where);
  Entry entry;
  entry.name = name;
  const nlohmann::json& dtype = field(json, "dtype", where);
  if (!dtype.is_string()) fail("{}: dtype is not a string", where);
  entry.dtype = &find_dtype(dtype.get<std::string>(), where);
  const nlohmann::json& shape = field(json, "shape", where);
  if (!shape.is_array()) fail("{}: shape is not a list", where);
  if (shape.size() > kMostDims)
    fail("{}: {} dimensions, at most {} are allowed", where, shape.size(), kMostDims);
  for (const nlohmann::json& size : shape)
    entry.shape.push_back(static_cast<int64_t>(natural(size, where, "shape")));
  const nlohmann::json& offsets = field(json, "data_offsets", where);
  if (!offsets.is_array() || offsets.size() != 2) fail("{}: data_offsets is not a pair", where);
  entry.begin = natural(offsets[0], where, "data_offsets");
  entry.end = natural(offsets[1], where, "data_offsets");
  if (entry.begin > entry.end || entry.end > data_size)
    fail("{}: data_offsets [{}, {}] are not within the {} bytes of data (truncated file?)", where,
         entry.begin, entry.end, data_size);
  const uint64_t expected = bytes_of(*entry.dtype, entry.shape, where);
  if (entry.end - entry.begin != expected)
    fail("{}: {} of shape {} needs {} bytes, data_offsets have {}", where, entry.dtype->name,
         entry.shape, expected, entry.end - entry.begin);
  return entry;
}

// Every byte of the data belongs to exactly one tensor.
void check_coverage(std::vector<Entry>& entries, uint64_t data_size, const std::string& file) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  for (const Entry& entry : entries) {
    if (entry.begin < covered)
      fail("{}: tensor {} overlaps the one before it", file, in_quotes(entry.name));
    if (entry.begin > covered)
      fail("{}: {} unused bytes before tensor {}", file, entry.begin - covered,
           in_quotes(entry.name));
    covered = entry.end;
  }
  if (covered != data_size)
    fail("{}: {} unused bytes after the last tensor", file, data_size - covered);
}

Tensor view(const std::shared_ptr<MappedFile>& mapping, uint64_t start, const Entry& entry,
            const std::string& where) {
  const auto options = at::TensorOptions().dtype(*entry.dtype->type);
  const uint64_t size = entry.end - entry.begin;
  if (size == 0) return at::empty(entry.shape, options);
  char* data = mapping->data() + start;
  // Any other byte in a bool is undefined behaviour later on.
  if (*entry.dtype->type == at::kBool &&
      std::any_of(data, data + size, [](uint8_t b) { return b > 1; }))
    fail("{}: BOOL with bytes that are neither 0 nor 1", where);
  if (start % static_cast<uint64_t>(entry.dtype->bits / 8) != 0) {
    Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.mutable_data_ptr(), data, size);
    return copy;
  }
  return at::from_blob(
      data, entry.shape, [mapping](void*) {}, options);
}

void read_metadata(const nlohmann::json& json, const std::string& file,
                   std::map<std::string, std::string>* metadata) {
  if (!json.is_object()) fail("{}: __metadata__ is not an object", file);
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) fail("{}: __metadata__ {} is not a string", file, in_quotes(key));
    if (metadata) (*metadata)[key] = value.get<std::string>();
  }
}

}  // namespace

TensorMap read_safetensors(const std::filesystem::path& path,
                           std::map<std::string, std::string>* metadata) {
  const std::string file = path.string();
  const auto mapping = std::make_shared<MappedFile>(path);
  const Parts parts = split(mapping->bytes(), file);
  const auto where = [&](const std::string& name) { return file + ": tensor " + in_quotes(name); };
  if (metadata) metadata->clear();
  std::vector<Entry> entries;
  for (const auto& [name, json] : parts.header.items()) {
    if (name == "__metadata__") {
      read_metadata(json, file, metadata);
    } else {
      entries.push_back(parse_entry(name, json, parts.data_size, where(name)));
    }
  }
  check_coverage(entries, parts.data_size, file);
  TensorMap tensors;
  for (const Entry& entry : entries)
    tensors.emplace(entry.name,
                    view(mapping, parts.data_start + entry.begin, entry, where(entry.name)));
  return tensors;
}

}  // namespace tweedie

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "tweedie/core/options.h"
#include "tweedie/io/atomic_file.h"
#include "tweedie/io/dtypes.h"
#include "tweedie/io/json.h"
#include "tweedie/io/safetensors.h"

namespace tweedie {
namespace {

using safetensors::kDtypes;

struct Item {
  const std::string* name;
  const Tensor* tensor;
  size_t dtype;  // index into kDtypes
};

size_t dtype_index(const Tensor& tensor, const std::string& where) {
  if (!tensor.defined()) fail("{}: cannot be saved: it is undefined", where);
  if (tensor.layout() != at::kStrided) fail("{}: cannot be saved: it is not dense", where);
  for (size_t i = 0; i < kDtypes.size(); ++i)
    if (kDtypes[i].type == tensor.scalar_type()) return i;
  fail("{}: cannot be saved: safetensors has no {}", where, c10::toString(tensor.scalar_type()));
}

std::string json_string(const std::string& text, const std::string& file) {
  try {
    return Json(text).dump();
  } catch (const Json::exception&) {
    fail("{}: {} is not UTF-8", file, in_quotes(text));
  }
}

std::string make_header(const std::vector<Item>& items,
                        const std::map<std::string, std::string>& metadata,
                        const std::string& file) {
  std::string header = "{";
  const auto separate = [&] { header += header.size() > 1 ? "," : ""; };
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata)
      pairs.push_back(json_string(key, file) + ":" + json_string(value, file));
    header += formatted("\"__metadata__\":{{{}}}", fmt::join(pairs, ","));
  }
  uint64_t offset = 0;
  for (const Item& item : items) {
    separate();
    const uint64_t end =
        offset + static_cast<uint64_t>(item.tensor->numel()) * item.tensor->element_size();
    header += formatted("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        json_string(*item.name, file), kDtypes[item.dtype].name,
                        fmt::join(item.tensor->sizes(), ","), offset, end);
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');  // the data start aligned
  return header;
}

std::string little_endian(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> 8 * i);
  return bytes;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string file = path.string();
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) {
    if (name == "__metadata__") fail("{}: a tensor cannot be named __metadata__", file);
    items.push_back({&name, &tensor, dtype_index(tensor, file + ": tensor " + in_quotes(name))});
  }
  // The reference writer's order, which keeps every tensor aligned: wide types first, then by name.
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.dtype > b.dtype; });
  const std::string header = make_header(items, metadata, file);
  AtomicFile out(path);
  out.write(little_endian(header.size()));
  out.write(header);
  for (const Item& item : items) {  // one at a time: a copy of each is needed from another device
    const Tensor plain =
        item.tensor->detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
    out.write({static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()});
  }
  out.commit();
}

}  // namespace tweedie

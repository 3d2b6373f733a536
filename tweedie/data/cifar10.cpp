// CIFAR-10, "binary version": records of one label byte and 3072 bytes, 1024 of red, green, blue
// each, row by row (https://www.cs.toronto.edu/~kriz/cifar.html).
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "tweedie/data/packed.h"
#include "tweedie/data/sources.h"
#include "tweedie/io/files.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

constexpr size_t kSide = 32, kPlane = kSide * kSide, kRecord = 1 + 3 * kPlane;

// The folder of the batches: this one or the one that the archive unpacks to.
fs::path batch_folder(const fs::path& folder) {
  const fs::path inner = folder / "cifar-10-batches-bin";
  return fs::exists(inner) ? inner : folder;
}

std::vector<std::string> read_classes(const fs::path& folder) {
  std::vector<std::string> names = {"airplane", "automobile", "bird",  "cat",  "deer",
                                    "dog",      "frog",       "horse", "ship", "truck"};
  const fs::path file = folder / "batches.meta.txt";
  if (!fs::exists(file)) return names;
  names.clear();
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  if (names.size() != 10) fail("[data] {}: {} class names, not 10", file.string(), names.size());
  return names;
}

void append(PackedImages& all, const fs::path& file) {
  if (!fs::exists(file)) fail("[data] {}: missing", file.string());
  const std::string bytes = read_file(file);
  if (bytes.empty() || bytes.size() % kRecord != 0)
    fail("[data] {}: {} bytes, not a whole number of records of {} bytes (truncated?)",
         file.string(), bytes.size(), kRecord);
  const size_t count = bytes.size() / kRecord, begin = all.pixels.size();
  all.pixels.resize(begin + count * 3 * kPlane);
  uint8_t* out = all.pixels.data() + begin;
  for (size_t i = 0; i < count; ++i) {
    const auto* record = reinterpret_cast<const uint8_t*>(bytes.data()) + i * kRecord;
    if (record[0] > 9)
      fail("[data] {}: label {} in record {}; CIFAR-10 has 0 to 9", file.string(), record[0], i);
    all.labels.push_back(record[0]);
    for (size_t p = 0; p < kPlane; ++p)
      for (size_t c = 0; c < 3; ++c) *out++ = record[1 + c * kPlane + p];
  }
}

}  // namespace

bool has_cifar10(const fs::path& folder) {
  const fs::path inner = batch_folder(folder);
  return fs::exists(inner / "data_batch_1.bin") || fs::exists(inner / "test_batch.bin");
}

DatasetPtr open_cifar10(const fs::path& folder, Split split) {
  const fs::path inner = batch_folder(folder);
  if (split == Split::kTest && !fs::exists(inner / "test_batch.bin"))
    throw AbsentPart(formatted("[data] {}: missing", (inner / "test_batch.bin").string()));
  PackedImages images{kSide, kSide, 3, {}, {}};
  if (split != Split::kTest)
    for (int i = 1; i <= 5; ++i) append(images, inner / formatted("data_batch_{}.bin", i));
  if (split != Split::kTrain) append(images, inner / "test_batch.bin");
  return std::make_shared<PackedDataset>(
      formatted("cifar10:{}@{}", folder.string(), split_name(split)), std::move(images),
      read_classes(inner));
}

}  // namespace tweedie

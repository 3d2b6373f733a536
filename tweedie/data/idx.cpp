// IDX: two zero bytes, a type byte (8 = unsigned byte), the number of dimensions, each dimension as
// a big-endian 32-bit number, then the values (http://yann.lecun.com/exdb/mnist/, "THE IDX FILE
// FORMAT").
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "tweedie/data/packed.h"
#include "tweedie/data/sources.h"
#include "tweedie/io/files.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

// The file under any of its usual names, or an empty path.
fs::path find_idx(const fs::path& folder, const std::string& split, const std::string& what,
                  int dims) {
  for (const char* separator : {"-", "."})
    for (const char* ending : {"", ".gz"}) {
      const fs::path file =
          folder / formatted("{}-{}{}idx{}-ubyte{}", split, what, separator, dims, ending);
      if (fs::exists(file)) return file;
    }
  return {};
}

std::string missing_idx(const fs::path& folder, const std::string& split, const std::string& what,
                        int dims) {
  return formatted("[data] {}: no {}-{}-idx{}-ubyte[.gz] in this folder", folder.string(), split,
                   what, dims);
}

fs::path require_idx(const fs::path& folder, const std::string& split, const std::string& what,
                     int dims) {
  const fs::path file = find_idx(folder, split, what, dims);
  if (file.empty()) fail("{}", missing_idx(folder, split, what, dims));
  return file;
}

struct Idx {
  std::vector<int64_t> sizes;
  std::string bytes;
  size_t begin = 0;  // of the values in `bytes`
};

Idx read_idx(const fs::path& file, size_t dims) {
  Idx idx{{}, read_file(file), 4 + 4 * dims};
  const std::string& bytes = idx.bytes;
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  if (bytes.size() < 4 || byte(0) != 0 || byte(1) != 0)
    fail("[data] {}: not an IDX file (it does not begin with two zero bytes)", file.string());
  if (byte(2) != 8)
    fail("[data] {}: IDX values of type 0x{:02x}; only 0x08, unsigned bytes, can be read",
         file.string(), byte(2));
  if (byte(3) != dims)
    fail("[data] {}: {} dimensions where {} belong", file.string(), byte(3), dims);
  if (bytes.size() < idx.begin) fail("[data] {}: truncated in the header", file.string());
  const size_t values = bytes.size() - idx.begin;
  size_t expected = 1;
  bool overflow = false;
  for (size_t d = 0; d < dims; ++d) {
    int64_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | byte(4 + 4 * d + i);
    idx.sizes.push_back(size);
    overflow = overflow || __builtin_mul_overflow(expected, static_cast<size_t>(size), &expected);
  }
  if (overflow || expected != values)
    fail("[data] {}: the header says {} values, the file holds {}", file.string(),
         fmt::join(idx.sizes, " x "), values);
  if (expected == 0) fail("[data] {}: empty ({})", file.string(), fmt::join(idx.sizes, " x "));
  return idx;
}

int largest_label(const Idx& labels) {
  int largest = 0;
  for (size_t i = labels.begin; i < labels.bytes.size(); ++i)
    largest = std::max<int>(largest, static_cast<uint8_t>(labels.bytes[i]));
  return largest;
}

// Appends the images and labels of one split.
void append(PackedImages& all, const fs::path& folder, const std::string& split, size_t classes) {
  const fs::path image_file = require_idx(folder, split, "images", 3);
  const fs::path label_file = require_idx(folder, split, "labels", 1);
  const Idx images = read_idx(image_file, 3), labels = read_idx(label_file, 1);
  if (images.sizes[0] != labels.sizes[0])
    fail("[data] {}: {} labels for the {} images of {}", label_file.string(), labels.sizes[0],
         images.sizes[0], image_file.filename().string());
  if (const int label = largest_label(labels); static_cast<size_t>(label) >= classes)
    fail("[data] {}: label {} where there are {} classes", label_file.string(), label, classes);
  if (std::max(images.sizes[1], images.sizes[2]) > 65535)
    fail("[data] {}: images of {} x {} pixels; at most 65535 a side", image_file.string(),
         images.sizes[1], images.sizes[2]);
  const int height = static_cast<int>(images.sizes[1]), width = static_cast<int>(images.sizes[2]);
  if (!all.labels.empty() && (height != all.height || width != all.width))
    fail("[data] {}: images of {} x {} pixels, those of the other split are {} x {}",
         image_file.string(), height, width, all.height, all.width);
  all.height = height, all.width = width, all.channels = 1;
  all.pixels.insert(all.pixels.end(), images.bytes.begin() + images.begin, images.bytes.end());
  all.labels.insert(all.labels.end(), labels.bytes.begin() + labels.begin, labels.bytes.end());
}

}  // namespace

bool has_idx(const fs::path& folder) {
  return !find_idx(folder, "train", "images", 3).empty() ||
         !find_idx(folder, "t10k", "images", 3).empty();
}

DatasetPtr open_idx(const std::string& name, const fs::path& folder, Split split,
                    std::vector<std::string> classes) {
  if (classes.empty()) {
    int largest = 0;  // over both splits, so that a class has one index in both
    for (const char* part : {"train", "t10k"})
      if (const fs::path file = find_idx(folder, part, "labels", 1); !file.empty())
        largest = std::max(largest, largest_label(read_idx(file, 1)));
    for (int label = 0; label <= largest; ++label) classes.push_back(std::to_string(label));
  }
  if (split == Split::kTest && find_idx(folder, "t10k", "images", 3).empty())
    throw AbsentPart(missing_idx(folder, "t10k", "images", 3));
  PackedImages images;
  if (split != Split::kTest) append(images, folder, "train", classes.size());
  if (split != Split::kTrain) append(images, folder, "t10k", classes.size());
  return std::make_shared<PackedDataset>(name + "@" + split_name(split), std::move(images),
                                         std::move(classes));
}

std::string fashion_mnist_folder() {
  const char* set = std::getenv("TWEEDIE_FASHION_MNIST");
  return set && *set ? set : "/usr/share/datasets/fashion-mnist";
}

DatasetPtr open_fashion_mnist(Split split) {
  const std::string folder = fashion_mnist_folder();
  if (!has_idx(folder))
    fail(
        "[data] fashion-mnist: no IDX files in {}; install Debian's package dataset-fashion-mnist, "
        "or "
        "set TWEEDIE_FASHION_MNIST to the folder of the four files",
        folder);
  return open_idx("fashion-mnist", folder, split,
                  {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                   "Sneaker", "Bag", "Ankle boot"});
}

}  // namespace tweedie

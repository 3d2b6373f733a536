// Images of one size, held in memory as they came from a file.
#pragma once
#include <string>
#include <vector>

#include "tweedie/data/dataset.h"

namespace tweedie {

/// What a file of equal images holds: `pixels` are N interleaved images, one label each.
struct PackedImages {
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels, labels;
  int64_t bytes_each() const { return int64_t{height} * width * channels; }
};

class PackedDataset : public Dataset {
 public:
  /// `name` is the spec with its split. Every label is below classes.size().
  PackedDataset(std::string name, PackedImages images, std::vector<std::string> classes);
  int64_t size() const override { return static_cast<int64_t>(images_.labels.size()); }
  Example get(int64_t index) const override;
  std::vector<std::string> classes() const override { return classes_; }
  std::pair<int, int> common_size() const override { return {images_.height, images_.width}; }
  int common_channels() const override { return images_.channels; }
  std::string describe() const override;

 private:
  std::string name_;
  PackedImages images_;
  std::vector<std::string> classes_;
};

}  // namespace tweedie

#include "tweedie/data/packed.h"

#include <ATen/ATen.h>

#include "tweedie/data/sources.h"

namespace tweedie {

PackedDataset::PackedDataset(std::string name, PackedImages images,
                             std::vector<std::string> classes)
    : name_(std::move(name)), images_(std::move(images)), classes_(std::move(classes)) {
  TORCH_CHECK(static_cast<int64_t>(images_.pixels.size()) == size() * images_.bytes_each(),
              "pixels and labels disagree");
}

Example PackedDataset::get(int64_t index) const {
  TORCH_CHECK(index >= 0 && index < size(), "example ", index, " of ", size());
  const uint8_t* first = images_.pixels.data() + index * images_.bytes_each();
  return {{images_.width, images_.height, images_.channels, {first, first + images_.bytes_each()}},
          images_.labels[index]};
}

std::string PackedDataset::describe() const {
  return formatted("{}: {} {}x{}x{}, {}", name_, counted(size(), "image", "images"), images_.height,
                   images_.width, images_.channels,
                   counted(static_cast<int64_t>(classes_.size()), "class", "classes"));
}

}  // namespace tweedie

// A dataset that needs nothing on disk: one coloured shape on a soft background, with its
// segmentation.
#pragma once
#include "tweedie/data/dataset.h"

namespace tweedie {

/// 50,000 train and 5,000 test pictures, RGB. Shape, colours, place, size, angle and background are
/// functions of (split, index) alone, in units of the shorter side: another size draws the same
/// scenes. The class is the shape.
class ShapesDataset : public Dataset {
 public:
  /// height and width in 8..4096.
  ShapesDataset(int height, int width, Split split);
  int64_t size() const override;
  Example get(int64_t index) const override;
  /// Grey, 255 where the centre of the pixel lies inside the shape of get(index), else 0.
  Image mask(int64_t index) const;
  std::vector<std::string> classes() const override;
  std::pair<int, int> common_size() const override { return {height_, width_}; }
  int common_channels() const override { return 3; }
  std::string describe() const override;

 private:
  int height_, width_;
  Split split_;
};

}  // namespace tweedie

#include "tweedie/io/grid.h"

#include <algorithm>

#include "tweedie/core/error.h"

namespace tweedie {

Image tile(const std::vector<Image>& images, int columns, int gap) {
  if (images.empty()) fail("[grid] no images");
  columns = std::clamp<int>(columns, 1, static_cast<int>(images.size()));
  const int rows = (static_cast<int>(images.size()) + columns - 1) / columns;
  const int width = images.front().width, height = images.front().height;
  Image grid{columns * (width + gap) + gap, rows * (height + gap) + gap, 1, {}};
  for (const Image& image : images) {
    if (image.width != width || image.height != height)
      fail("[grid] images of {}x{} and {}x{}: expected one size", height, width, image.height,
           image.width);
    grid.channels = std::max(grid.channels, image.channels);
  }
  grid.pixels.assign(static_cast<size_t>(grid.width) * grid.height * grid.channels, 255);
  for (size_t i = 0; i < images.size(); ++i) {
    const Image& image = images[i];
    const int x0 = gap + static_cast<int>(i) % columns * (width + gap);
    const int y0 = gap + static_cast<int>(i) / columns * (height + gap);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        for (int c = 0; c < grid.channels; ++c)
          grid.pixels[(static_cast<size_t>(y0 + y) * grid.width + x0 + x) * grid.channels + c] =
              image.pixels[(static_cast<size_t>(y) * width + x) * image.channels +
                           c % image.channels];
  }
  return grid;
}

}  // namespace tweedie

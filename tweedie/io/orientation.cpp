#include <algorithm>

#include "tweedie/io/image_codecs.h"

namespace tweedie::codec {

int exif_orientation(std::string_view tiff) {
  constexpr uint32_t kOrientation = 0x0112, kShort = 3;  // TIFF 6.0, EXIF 2.3
  if (tiff.size() < 8) return 1;
  const bool big = tiff.starts_with(std::string_view("MM\0*", 4));
  if (!big && !tiff.starts_with(std::string_view("II*\0", 4))) return 1;
  const auto number = [&](size_t at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i)
      value |= static_cast<uint32_t>(static_cast<uint8_t>(tiff[at + i]))
               << 8 * (big ? bytes - 1 - i : i);
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > tiff.size() - 2) return 1;
  const size_t count = number(directory, 2);
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > tiff.size()) return 1;
    if (number(entry, 2) != kOrientation) continue;
    const uint32_t value = number(entry + 8, 2);
    const bool valid = number(entry + 2, 2) == kShort && number(entry + 4, 4) == 1;
    return valid && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image oriented(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool transpose = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image turned = image;
  if (transpose) std::swap(turned.width, turned.height);
  const size_t channels = static_cast<size_t>(image.channels);
  uint8_t* out = turned.pixels.data();
  for (int y = 0; y < turned.height; ++y) {
    for (int x = 0; x < turned.width; ++x, out += channels) {
      // Where this pixel is stored: flips are meant in the stored picture.
      const int column = transpose ? y : x, row = transpose ? x : y;
      const size_t from_x = static_cast<size_t>(flip_x ? image.width - 1 - column : column);
      const size_t from_y = static_cast<size_t>(flip_y ? image.height - 1 - row : row);
      std::copy_n(&image.pixels[(from_y * static_cast<size_t>(image.width) + from_x) * channels],
                  channels, out);
    }
  }
  return turned;
}

}  // namespace tweedie::codec

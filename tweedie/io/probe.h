// The size of a picture from its first bytes, without decoding it.
#pragma once
#include <filesystem>
#include <optional>

namespace tweedie {

/// As read_image() would return the picture: after the rotation that EXIF asks for.
struct PictureShape {
  int height = 0, width = 0;
  int channels = 0;  ///< 1 grey, 3 colour
  bool operator==(const PictureShape&) const = default;
};

/// Nothing for a file that cannot be opened or does not begin as PNG, JPEG or WebP do.
std::optional<PictureShape> probe_picture(const std::filesystem::path& file);

}  // namespace tweedie

// Pictures in memory and on disk.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tweedie {

/// Interleaved 8-bit pixels, row by row: `pixels[(y * width + x) * channels + c]`.
struct Image {
  int width = 0, height = 0;
  int channels = 0;  ///< 1 grey, 3 RGB
  std::vector<uint8_t> pixels;
};

/// What reading a picture had to change, for the user to know ("16 bit reduced to 8", "alpha over
/// white", "EXIF rotation 6 applied", "palette expanded").
using ImageNotes = std::vector<std::string>;

/// Reads PNG, JPEG or WebP, told apart by content, as 8-bit grey or RGB.
/// Throws Error (user) that names the file and the reason for anything unreadable, truncated or
/// hostile.
Image read_image(const std::filesystem::path& file, ImageNotes* notes = nullptr);

/// Key and value pairs stored as PNG tEXt/iTXt, e.g. {"tweedie", "{...json...}"}.
using ImageText = std::vector<std::pair<std::string, std::string>>;

/// Writes PNG, JPEG (quality 95) or WebP (lossless) by the extension, through a temporary file and
/// a rename. `text` is kept by PNG alone. Throws Error: user for an unknown extension, system for a
/// failed write (names the file).
void write_image(const std::filesystem::path& file, const Image& image, const ImageText& text = {});
ImageText read_png_text(const std::filesystem::path& file);

/// Animated WebP or APNG by the extension (.webp, .png); lossless; all frames of one size; loops
/// for ever.
void write_animation(const std::filesystem::path& file, const std::vector<Image>& frames,
                     int milliseconds_per_frame);

/// Whether the extension is one that read_image knows (.png .jpg .jpeg .webp, any case).
bool is_image_file(const std::filesystem::path& file);

}  // namespace tweedie

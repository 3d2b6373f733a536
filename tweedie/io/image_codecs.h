// One decoder and one encoder a format, over bytes in memory. Internal to io.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tweedie/io/image.h"

namespace tweedie::codec {

/// What a decoder yields: a picture as the file stores it, before its EXIF rotation.
struct Decoded {
  Image image;
  int orientation = 1;  ///< EXIF's 1..8
  ImageNotes notes;
  ImageText text;  ///< of a PNG
};

// `name` is the file for messages. Each throws Error (user) for bytes that are not one whole
// picture.
Decoded decode_png(std::string_view bytes, const std::string& name);
Decoded decode_jpeg(std::string_view bytes, const std::string& name);
Decoded decode_webp(std::string_view bytes, const std::string& name);

std::string encode_png(const Image& image, const ImageText& text, const std::string& name);
std::string encode_jpeg(const Image& image,
                        const std::string& name);  ///< quality 95, no subsampling
std::string encode_webp(const Image& image, const std::string& name);  ///< lossless

std::string encode_apng(const std::vector<Image>& frames, int milliseconds,
                        const std::string& name);
std::string encode_animated_webp(const std::vector<Image>& frames, int milliseconds,
                                 const std::string& name);

/// Throws unless both sides are 1..65535 and the picture has at most 2^28 pixels.
void check_size(uint64_t width, uint64_t height, const std::string& name);
/// Grey + alpha (2 channels) or RGBA (4) laid over white, in place: c = (a c + (255 - a) 255) /
/// 255.
void flatten(Image& image);
/// The rotation in the TIFF structure of EXIF data; 1 if it has none or is damaged.
int exif_orientation(std::string_view tiff);
/// The picture as EXIF's `orientation` 1..8 says it is to be seen.
Image oriented(Image image, int orientation);

}  // namespace tweedie::codec

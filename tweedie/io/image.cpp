#include "tweedie/io/image.h"

#include <algorithm>
#include <array>

#include "tweedie/core/error.h"
#include "tweedie/io/atomic_file.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image_codecs.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

enum class Format { kNone, kPng, kJpeg, kWebp };

Format format_of_name(const fs::path& file) {
  std::string extension = file.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (extension == ".png") return Format::kPng;
  if (extension == ".jpg" || extension == ".jpeg") return Format::kJpeg;
  return extension == ".webp" ? Format::kWebp : Format::kNone;
}

Format format_of_bytes(std::string_view bytes) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) return Format::kPng;
  if (bytes.starts_with("\xff\xd8\xff")) return Format::kJpeg;
  if (bytes.starts_with("RIFF") && bytes.substr(0, 12).ends_with("WEBP")) return Format::kWebp;
  return Format::kNone;
}

codec::Decoded decode(const fs::path& file) {
  const std::string bytes = read_file(file);
  switch (format_of_bytes(bytes)) {
    case Format::kPng:
      return codec::decode_png(bytes, file.string());
    case Format::kJpeg:
      return codec::decode_jpeg(bytes, file.string());
    case Format::kWebp:
      return codec::decode_webp(bytes, file.string());
    case Format::kNone:
      break;
  }
  fail("{}: not a picture; known: PNG, JPEG, WebP{}", file.string(),
       bytes.empty() ? " (empty file)" : "");
}

void check(const Image& image, const std::string& name) {
  if (image.width < 1 || image.height < 1 || (image.channels != 1 && image.channels != 3) ||
      image.pixels.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height) *
                                 static_cast<size_t>(image.channels))
    fail("{}: cannot write {} bytes as {}x{} pixels of {} channels (known: 1, 3)", name,
         image.pixels.size(), image.width, image.height, image.channels);
}

// Pictures come by the thousand and can be drawn again: not worth a sync each.
void save(const fs::path& file, std::string_view bytes) {
  AtomicFile out(file);
  out.write(bytes);
  out.commit(/*durable=*/false);
}

}  // namespace

namespace codec {

void check_size(uint64_t width, uint64_t height, const std::string& name) {
  constexpr uint64_t kLongestSide = 65535, kMostPixels = uint64_t{1} << 28;
  if (width < 1 || height < 1) fail("{}: a picture of {}x{} pixels", name, width, height);
  if (width > kLongestSide || height > kLongestSide || width * height > kMostPixels)
    fail("{}: {}x{} pixels: at most {} a side and {} in all are read", name, width, height,
         kLongestSide, kMostPixels);
}

void flatten(Image& image) {
  const int channels = image.channels - 1;
  const size_t count = image.pixels.size() / static_cast<size_t>(image.channels);
  const uint8_t* in = image.pixels.data();
  uint8_t* out = image.pixels.data();
  for (size_t i = 0; i < count; ++i, in += channels + 1, out += channels) {
    const int alpha = in[channels];
    for (int c = 0; c < channels; ++c)
      out[c] = static_cast<uint8_t>((alpha * in[c] + (255 - alpha) * 255 + 127) / 255);
  }
  image.channels = channels;
  image.pixels.resize(count * static_cast<size_t>(channels));
}

}  // namespace codec

Image read_image(const fs::path& file, ImageNotes* notes) {
  codec::Decoded decoded = decode(file);
  Image& image = decoded.image;
  if (image.channels == 2 || image.channels == 4) {
    codec::flatten(image);
    decoded.notes.push_back("alpha over white");
  }
  if (decoded.orientation != 1) {
    image = codec::oriented(std::move(image), decoded.orientation);
    decoded.notes.push_back(formatted("EXIF rotation {} applied", decoded.orientation));
  }
  if (notes) *notes = std::move(decoded.notes);
  return std::move(image);
}

ImageText read_png_text(const fs::path& file) {
  const std::string bytes = read_file(file);
  if (format_of_bytes(bytes) != Format::kPng) fail("{}: not a PNG", file.string());
  return codec::decode_png(bytes, file.string()).text;
}

void write_image(const fs::path& file, const Image& image, const ImageText& text) {
  const std::string name = file.string();
  check(image, name);
  switch (format_of_name(file)) {
    case Format::kPng:
      return save(file, codec::encode_png(image, text, name));
    case Format::kJpeg:
      return save(file, codec::encode_jpeg(image, name));
    case Format::kWebp:
      return save(file, codec::encode_webp(image, name));
    case Format::kNone:
      break;
  }
  fail("{}: unknown picture type '{}'; known: .png, .jpg, .jpeg, .webp", name,
       file.extension().string());
}

void write_animation(const fs::path& file, const std::vector<Image>& frames,
                     int milliseconds_per_frame) {
  const std::string name = file.string();
  if (frames.empty()) fail("{}: an animation without frames", name);
  if (milliseconds_per_frame < 1 || milliseconds_per_frame > 65535)
    fail("{}: {} ms per frame: expected 1..65535", name, milliseconds_per_frame);
  const Image& first = frames.front();
  for (const Image& frame : frames) {
    check(frame, name);
    if (frame.width != first.width || frame.height != first.height ||
        frame.channels != first.channels)
      fail("{}: frames of {}x{}x{} and {}x{}x{}: expected one size", name, first.width,
           first.height, first.channels, frame.width, frame.height, frame.channels);
  }
  switch (format_of_name(file)) {
    case Format::kPng:
      return save(file, codec::encode_apng(frames, milliseconds_per_frame, name));
    case Format::kWebp:
      return save(file, codec::encode_animated_webp(frames, milliseconds_per_frame, name));
    default:
      break;
  }
  fail("{}: unknown animation type '{}'; known: .webp, .png", name, file.extension().string());
}

bool is_image_file(const fs::path& file) { return format_of_name(file) != Format::kNone; }

}  // namespace tweedie

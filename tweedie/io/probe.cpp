#include "tweedie/io/probe.h"

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

#include "tweedie/io/image_codecs.h"

namespace tweedie {
namespace {

constexpr int kSegments = 4096;  // of a file before what is looked for: no file has that many
constexpr uint32_t kMostExif = 1 << 20;
const std::string kExif("Exif\0\0", 6);

// Bytes of a file at any place; a number that lies beyond the end makes ok() false and reads as 0.
class Bytes {
 public:
  explicit Bytes(std::istream& in) : in_(in), head_(read(0, 4096)) {}
  bool ok() const { return ok_; }
  std::string text(uint64_t at, size_t n) {
    std::string bytes = at + n <= head_.size() ? head_.substr(at, n) : read(at, n);
    ok_ = ok_ && bytes.size() == n;
    bytes.resize(n);
    return bytes;
  }
  uint32_t big(uint64_t at, size_t n) {
    uint32_t value = 0;
    for (const char c : text(at, n)) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  uint32_t little(uint64_t at, size_t n) {
    const std::string bytes = text(at, n);
    uint32_t value = 0;
    for (size_t i = n; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return value;
  }

 private:
  std::string read(uint64_t at, size_t n) {
    std::string bytes(n, '\0');
    in_.clear();
    in_.seekg(static_cast<std::streamoff>(at));
    in_.read(bytes.data(), static_cast<std::streamsize>(n));
    bytes.resize(static_cast<size_t>(in_.gcount()));
    return bytes;
  }

  std::istream& in_;
  std::string head_;  // most files need no more
  bool ok_ = true;
};

PictureShape turned(PictureShape shape, int orientation) {
  if (orientation >= 5) std::swap(shape.height, shape.width);
  return shape;
}

PictureShape probe_png(Bytes& bytes) {
  const uint32_t color = bytes.big(25, 1);  // 0 grey, 4 grey with alpha
  const PictureShape stored{static_cast<int>(bytes.big(20, 4)), static_cast<int>(bytes.big(16, 4)),
                            color == 0 || color == 4 ? 1 : 3};
  uint64_t at = 8;  // chunks: length, name, data, checksum
  for (int chunk = 0; chunk < kSegments && bytes.ok(); ++chunk) {
    const uint32_t length = bytes.big(at, 4);
    const std::string name = bytes.text(at + 4, 4);
    if (name == "eXIf" && length <= kMostExif)
      return turned(stored, codec::exif_orientation(bytes.text(at + 8, length)));
    if (name == "IDAT" || name == "IEND") break;
    at += 12 + uint64_t{length};
  }
  return stored;
}

// Walks the segments to the frame header.
PictureShape probe_jpeg(Bytes& bytes) {
  int orientation = 1;
  uint64_t at = 2;
  for (int segment = 0; segment < kSegments && bytes.ok() && bytes.big(at, 1) == 0xff; ++segment) {
    const uint32_t marker = bytes.big(at + 1, 1);
    if (marker == 0xff) {  // filler
      ++at;
      continue;
    }
    const uint32_t length = bytes.big(at + 2, 2);
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (frame)
      return turned({static_cast<int>(bytes.big(at + 5, 2)), static_cast<int>(bytes.big(at + 7, 2)),
                     bytes.big(at + 9, 1) == 1 ? 1 : 3},
                    orientation);
    if (marker == 0xe1 && length >= 8 && bytes.text(at + 4, 6) == kExif)
      orientation = codec::exif_orientation(bytes.text(at + 10, length - 8));
    at += 2 + length;
  }
  return {};
}

PictureShape probe_webp(Bytes& bytes) {
  const std::string kind = bytes.text(12, 4);
  if (kind == "VP8 ")
    return {static_cast<int>(bytes.little(28, 2) & 0x3fff),
            static_cast<int>(bytes.little(26, 2) & 0x3fff), 3};
  if (kind == "VP8L") {
    const uint32_t sizes = bytes.little(21, 4);
    return {static_cast<int>(sizes >> 14 & 0x3fff) + 1, static_cast<int>(sizes & 0x3fff) + 1, 3};
  }
  if (kind != "VP8X") return {};
  const PictureShape stored{static_cast<int>(bytes.little(27, 3)) + 1,
                            static_cast<int>(bytes.little(24, 3)) + 1, 3};
  if (!(bytes.little(20, 1) & 8)) return stored;  // no EXIF chunk
  uint64_t at = 12;
  for (int chunk = 0; chunk < kSegments && bytes.ok(); ++chunk) {
    const uint32_t length = bytes.little(at + 4, 4);
    if (bytes.text(at, 4) == "EXIF" && length <= kMostExif) {
      const std::string exif = bytes.text(at + 8, length);
      return turned(stored, codec::exif_orientation(exif.substr(exif.starts_with(kExif) ? 6 : 0)));
    }
    at += 8 + uint64_t{length} + length % 2;
  }
  return {};
}

}  // namespace

std::optional<PictureShape> probe_picture(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  Bytes bytes(in);
  const std::string begin = bytes.text(0, 12);
  PictureShape shape;
  if (begin.compare(0, 8, "\x89PNG\r\n\x1a\n") == 0)
    shape = probe_png(bytes);
  else if (begin.compare(0, 3, "\xff\xd8\xff") == 0)
    shape = probe_jpeg(bytes);
  else if (begin.compare(0, 4, "RIFF") == 0 && begin.compare(8, 4, "WEBP") == 0)
    shape = probe_webp(bytes);
  if (!bytes.ok() || shape.height < 1 || shape.width < 1) return {};
  return shape;
}

}  // namespace tweedie

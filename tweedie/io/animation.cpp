// APNG (PNG third edition, 11.3.8): libpng cannot write it, but frames are ordinary PNGs in other
// chunks.
#include <zlib.h>

#include "tweedie/io/image_codecs.h"

namespace tweedie::codec {
namespace {

constexpr size_t kSignature = 8;

std::string big_endian(uint32_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> 8 * i);
  return out;
}

uint32_t number_at(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

std::string chunk(const std::string& type, std::string_view data) {
  std::string body = type;
  body += data;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size()), 4) + body +
         big_endian(static_cast<uint32_t>(sum), 4);
}

// Calls visit(type, data) for each chunk of a PNG that we wrote ourselves.
template <class Visit>
void for_each_chunk(std::string_view png, Visit&& visit) {
  for (size_t at = kSignature; at + 12 <= png.size();) {
    const size_t size = number_at(png, at);
    visit(png.substr(at + 4, 4), png.substr(at + 8, size));
    at += 12 + size;
  }
}

std::string frame_control(uint32_t sequence, const Image& frame, int milliseconds) {
  return chunk("fcTL", big_endian(sequence, 4) + big_endian(static_cast<uint32_t>(frame.width), 4) +
                           big_endian(static_cast<uint32_t>(frame.height), 4) + big_endian(0, 4) +
                           big_endian(0, 4) +                                    // at the corner
                           big_endian(static_cast<uint32_t>(milliseconds), 2) +  // delay = this
                           big_endian(1000, 2) +                  // over this, in seconds
                           big_endian(0, 1) + big_endian(0, 1));  // replace what was there
}

}  // namespace

std::string encode_apng(const std::vector<Image>& frames, int milliseconds,
                        const std::string& name) {
  std::string out;
  uint32_t sequence = 0;
  for (size_t i = 0; i < frames.size(); ++i) {
    const std::string png = encode_png(frames[i], {}, name);
    bool controlled = false;
    for_each_chunk(png, [&](std::string_view type, std::string_view data) {
      if (type == "IHDR" && i == 0) {
        out = png.substr(0, kSignature) + chunk("IHDR", data) +
              chunk("acTL", big_endian(static_cast<uint32_t>(frames.size()), 4) +
                                big_endian(0, 4));  // plays for ever
      } else if (type == "IDAT") {
        if (!controlled) out += frame_control(sequence++, frames[i], milliseconds);
        controlled = true;
        out += i == 0 ? chunk("IDAT", data)
                      : chunk("fdAT", big_endian(sequence++, 4) + std::string(data));
      }
    });
  }
  return out + chunk("IEND", "");
}

}  // namespace tweedie::codec

// Picture files of kinds that the library reads and does not write.
#pragma once
#include <webp/encode.h>
#include <webp/mux.h>
#include <zlib.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>
// After <cstdio>, which they need.
#include <jpeglib.h>
#include <png.h>

#include "tweedie/io/image.h"

namespace tweedie::test {

inline std::string big_endian(uint32_t value, int bytes = 4) {
  std::string out;
  while (bytes-- > 0) out += static_cast<char>(value >> 8 * bytes);
  return out;
}

inline std::string png_chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
  return big_endian(static_cast<uint32_t>(data.size())) + body +
         big_endian(static_cast<uint32_t>(sum));
}

/// A PNG put together by hand (PNG 11.2): rows of packed samples, `chunks` before the pixels.
inline std::string png(uint32_t width, uint32_t height, int depth, int colour,
                       const std::vector<std::string>& rows,
                       const std::vector<std::pair<std::string, std::string>>& chunks = {}) {
  std::string raw;
  for (const std::string& row : rows) raw += '\0' + row;  // filter 0
  uLongf size = compressBound(raw.size());
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size,
           reinterpret_cast<const Bytef*>(raw.data()), raw.size());
  packed.resize(size);
  std::string out = "\x89PNG\r\n\x1a\n";
  out += png_chunk("IHDR", big_endian(width) + big_endian(height) + static_cast<char>(depth) +
                               static_cast<char>(colour) + std::string(3, '\0'));
  for (const auto& [type, data] : chunks) out += png_chunk(type, data);
  return out + png_chunk("IDAT", packed) + png_chunk("IEND", "");
}

inline std::string png_claiming(uint32_t width, uint32_t height) {
  return png(width, height, 8, 2, {std::string(3, 'x')});
}

inline std::string interlaced_png(const Image& image) {
  std::string out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &out,
      [](png_structp p, png_bytep data, size_t size) {
        static_cast<std::string*>(png_get_io_ptr(p))->append(reinterpret_cast<char*>(data), size);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, static_cast<png_uint_32>(image.width),
               static_cast<png_uint_32>(image.height), 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_bytep> rows;
  for (int y = 0; y < image.height; ++y)
    rows.push_back(const_cast<png_bytep>(image.pixels.data()) + y * image.width * 3);
  png_set_rows(png, info, rows.data());
  png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  png_destroy_write_struct(&png, &info);
  return out;
}

/// A TIFF structure whose only entry is the orientation.
inline std::string exif(int orientation, bool big) {
  const auto number = [&](uint32_t value, int bytes) {
    const std::string text = big_endian(value, bytes);
    return big ? text : std::string(text.rbegin(), text.rend());
  };
  return (big ? "MM" : "II") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x0112, 2) +
         number(3, 2) + number(1, 4) + number(static_cast<uint32_t>(orientation), 2) +
         number(0, 2) + number(0, 4);
}

inline std::string jpeg_with_exif(std::string jpeg, const std::string& tiff) {
  const std::string data = std::string("Exif\0\0", 6) + tiff;
  return jpeg.insert(2, "\xff\xe1" + big_endian(static_cast<uint32_t>(data.size() + 2), 2) + data);
}

inline std::string cmyk_jpeg(int width, int height, std::array<uint8_t, 4> colour, bool adobe) {
  jpeg_compress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&jpeg, &bytes, &size);
  jpeg.image_width = static_cast<JDIMENSION>(width);
  jpeg.image_height = static_cast<JDIMENSION>(height);
  jpeg.input_components = 4;
  jpeg.in_color_space = JCS_CMYK;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 100, TRUE);
  jpeg.write_Adobe_marker = adobe ? TRUE : FALSE;
  jpeg_start_compress(&jpeg, TRUE);
  std::vector<uint8_t> row;
  for (int x = 0; x < width; ++x) row.insert(row.end(), colour.begin(), colour.end());
  JSAMPROW rows = row.data();
  for (int y = 0; y < height; ++y) jpeg_write_scanlines(&jpeg, &rows, 1);
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  const std::string out(reinterpret_cast<char*>(bytes), size);
  std::free(bytes);
  return out;
}

inline std::string webp_rgba(int width, int height, const std::vector<uint8_t>& pixels) {
  uint8_t* bytes = nullptr;
  const size_t size = WebPEncodeLosslessRGBA(pixels.data(), width, height, width * 4, &bytes);
  const std::string out(reinterpret_cast<char*>(bytes), size);
  WebPFree(bytes);
  return out;
}

inline std::string webp_with_exif(const std::string& webp, const std::string& tiff) {
  const WebPData picture{reinterpret_cast<const uint8_t*>(webp.data()), webp.size()};
  const WebPData data{reinterpret_cast<const uint8_t*>(tiff.data()), tiff.size()};
  WebPMux* mux = WebPMuxCreate(&picture, 1);
  WebPMuxSetChunk(mux, "EXIF", &data, 1);
  WebPData assembled;
  WebPMuxAssemble(mux, &assembled);
  WebPMuxDelete(mux);
  const std::string out(reinterpret_cast<const char*>(assembled.bytes), assembled.size);
  WebPDataClear(&assembled);
  return out;
}

}  // namespace tweedie::test

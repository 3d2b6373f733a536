#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
// After <cstdio>, which they need.
#include <jpeglib.h>
// After jpeglib.h.
#include <jerror.h>

#include "tweedie/core/error.h"
#include "tweedie/io/image_codecs.h"

namespace tweedie::codec {
namespace {

// libjpeg reports an error by a jump from here. As in image_png.cpp, a step may own nothing that
// needs a destructor.
struct Handler {
  jpeg_error_mgr base;  // first: libjpeg knows its address only
  std::jmp_buf back;
  char message[JMSG_LENGTH_MAX];
  char warning[JMSG_LENGTH_MAX];
};

template <class Step>
bool completes(Handler& handler, Step&& step) {
  if (setjmp(handler.back)) return false;
  step();
  return true;
}

void on_error(j_common_ptr jpeg) {
  auto* handler = reinterpret_cast<Handler*>(jpeg->err);
  jpeg->err->format_message(jpeg, handler->message);
  std::longjmp(handler->back, 1);
}

// libjpeg goes on with made-up pixels after damage and only warns of it.
void on_message(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  auto* handler = reinterpret_cast<Handler*>(jpeg->err);
  const int code = jpeg->err->msg_code;
  const bool harmless = code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM ||
                        code == JWRN_BOGUS_PROGRESSION || code == JWRN_JFIF_MAJOR;
  if (!harmless) on_error(jpeg);
  jpeg->err->format_message(jpeg, handler->warning);
}

// Each pass over a progressive picture costs as much as the whole: thousands are an attack.
void on_progress(j_common_ptr jpeg) {
  constexpr int kMostScans = 500;
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMostScans) {
    auto* handler = reinterpret_cast<Handler*>(jpeg->err);
    std::snprintf(handler->message, sizeof handler->message, "more than %d scans", kMostScans);
    std::longjmp(handler->back, 1);
  }
}

Handler make_handler() {
  Handler handler{};
  jpeg_std_error(&handler.base);
  handler.base.error_exit = on_error;
  handler.base.emit_message = on_message;
  return handler;
}

struct Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_progress_mgr progress{};
  Handler handler = make_handler();
  Reader() {
    jpeg.err = &handler.base;
    if (!completes(handler, [&] { jpeg_create_decompress(&jpeg); }))
      fail_system("libjpeg: cannot start: {}", handler.message);
    progress.progress_monitor = on_progress;
    jpeg.progress = &progress;
  }
  ~Reader() { jpeg_destroy_decompress(&jpeg); }
};

struct Writer {
  jpeg_compress_struct jpeg{};
  Handler handler = make_handler();
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  Writer() {
    jpeg.err = &handler.base;
    if (!completes(handler, [&] { jpeg_create_compress(&jpeg); }))
      fail_system("libjpeg: cannot start: {}", handler.message);
  }
  ~Writer() {
    jpeg_destroy_compress(&jpeg);
    std::free(bytes);
  }
};

int orientation_of(const jpeg_decompress_struct& jpeg) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (marker->marker == JPEG_APP0 + 1 && data.starts_with(kExif))
      return exif_orientation(data.substr(kExif.size()));
  }
  return 1;
}

// CMYK without its colour profile: c = (255 - C)(255 - K) / 255. Adobe stores the complements.
void convert_cmyk(Image& image, bool complements) {
  const size_t count = image.pixels.size() / 4;
  const uint8_t* in = image.pixels.data();
  uint8_t* out = image.pixels.data();
  const auto ink = [&](uint8_t value) { return complements ? value : 255 - value; };
  for (size_t i = 0; i < count; ++i, in += 4, out += 3) {
    const int black = ink(in[3]);
    for (int c = 0; c < 3; ++c) out[c] = static_cast<uint8_t>((ink(in[c]) * black + 127) / 255);
  }
  image.channels = 3;
  image.pixels.resize(count * 3);
}

}  // namespace

Decoded decode_jpeg(std::string_view bytes, const std::string& name) {
  Reader reader;
  jpeg_decompress_struct& jpeg = reader.jpeg;
  const auto run = [&](auto&& step) {
    if (!completes(reader.handler, step))
      fail("{}: unreadable JPEG: {}", name, reader.handler.message);
  };
  run([&] {
    jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&jpeg, TRUE);
  });
  check_size(jpeg.image_width, jpeg.image_height, name);
  // A Huffman code has at least one bit a block of 64 pixels: a small file that promises more is
  // not worth its memory.
  if (!jpeg.arith_code && uint64_t{jpeg.image_width} * jpeg.image_height / 512 > bytes.size())
    fail("{}: unreadable JPEG: {} bytes cannot hold {}x{} pixels", name, bytes.size(),
         jpeg.image_width, jpeg.image_height);
  const bool cmyk = jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK;
  const bool grey = jpeg.jpeg_color_space == JCS_GRAYSCALE;
  jpeg.out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
  run([&] { jpeg_start_decompress(&jpeg); });
  Decoded decoded;
  Image& image = decoded.image;
  image = {static_cast<int>(jpeg.output_width),
           static_cast<int>(jpeg.output_height),
           jpeg.output_components,
           {}};
  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  image.pixels.reserve(row_bytes * static_cast<size_t>(image.height));
  // Row by row, so that a short file that promises a large picture takes no memory.
  while (jpeg.output_scanline < jpeg.output_height) {
    image.pixels.resize(image.pixels.size() + row_bytes);
    JSAMPROW row = image.pixels.data() + image.pixels.size() - row_bytes;
    run([&] { jpeg_read_scanlines(&jpeg, &row, 1); });
  }
  const int orientation = orientation_of(jpeg);
  const bool adobe = jpeg.saw_Adobe_marker;
  run([&] { jpeg_finish_decompress(&jpeg); });
  decoded.orientation = orientation;
  if (cmyk) {
    convert_cmyk(image, adobe);
    decoded.notes.push_back("CMYK converted to RGB without a colour profile");
  }
  if (reader.handler.warning[0]) decoded.notes.push_back("JPEG with stray bytes or odd markers");
  return decoded;
}

std::string encode_jpeg(const Image& image, const std::string& name) {
  Writer writer;
  jpeg_compress_struct& jpeg = writer.jpeg;
  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  const bool done = completes(writer.handler, [&] {
    jpeg_mem_dest(&jpeg, &writer.bytes, &writer.size);
    jpeg.image_width = static_cast<JDIMENSION>(image.width);
    jpeg.image_height = static_cast<JDIMENSION>(image.height);
    jpeg.input_components = image.channels;
    jpeg.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
      auto* row = const_cast<JSAMPROW>(image.pixels.data() + jpeg.next_scanline * row_bytes);
      jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
  });
  if (!done) fail("{}: cannot encode the JPEG: {}", name, writer.handler.message);
  return {reinterpret_cast<const char*>(writer.bytes), writer.size};
}

}  // namespace tweedie::codec

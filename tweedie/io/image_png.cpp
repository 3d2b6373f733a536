#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "tweedie/core/error.h"
#include "tweedie/io/image_codecs.h"
#include "tweedie/io/json.h"

namespace tweedie::codec {
namespace {

// libpng reports an error by a jump. A step may therefore own nothing that needs a destructor: all
// such objects live outside it, in the reader, the writer or their caller.
template <class Step>
bool completes(png_structp png, Step&& step) {
  if (setjmp(png_jmpbuf(png))) return false;
  step();
  return true;
}

struct Session {
  std::string_view bytes;  // yet to be read
  std::string out;         // written
  char message[160] = "unknown error";
};

void on_error(png_structp png, png_const_charp message) {
  auto* session = static_cast<Session*>(png_get_error_ptr(png));
  std::snprintf(session->message, sizeof session->message, "%s", message);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {
}  // libpng warns only of what does not bear on the pixels

void on_read(png_structp png, png_bytep to, size_t count) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  if (count > session->bytes.size()) png_error(png, "truncated");
  std::memcpy(to, session->bytes.data(), count);
  session->bytes.remove_prefix(count);
}
void on_write(png_structp png, png_bytep from, size_t count) {
  auto* session = static_cast<Session*>(png_get_io_ptr(png));
  try {
    session->out.append(reinterpret_cast<const char*>(from), count);
    return;
  } catch (const std::exception&) {  // must not travel through libpng
  }
  png_error(png, "no memory");
}
void on_flush(png_structp) {}

struct Reader {
  explicit Reader(std::string_view bytes) : session{.bytes = bytes, .out = {}} {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &session, on_error, on_warning);
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info) fail_system("libpng: cannot start: no memory");
    png_set_read_fn(png, &session, on_read);
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Session session;
  png_structp png = nullptr;
  png_infop info = nullptr;
};

struct Writer {
  Writer() {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &session, on_error, on_warning);
    info = png ? png_create_info_struct(png) : nullptr;
    if (!info) fail_system("libpng: cannot start: no memory");
    png_set_write_fn(png, &session, on_write, on_flush);
  }
  ~Writer() { png_destroy_write_struct(&png, &info); }
  Session session;
  png_structp png = nullptr;
  png_infop info = nullptr;
};

struct Layout {
  png_uint_32 width = 0, height = 0;
  int depth = 0, colour = 0, channels = 0;
  size_t stored_row_bytes = 0, row_bytes = 0;
};

void read_header(Reader& reader, Layout& layout) {
  png_set_user_limits(reader.png, 65535, 65535);
  png_set_crc_action(reader.png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_read_info(reader.png, reader.info);
  png_get_IHDR(reader.png, reader.info, &layout.width, &layout.height, &layout.depth,
               &layout.colour, nullptr, nullptr, nullptr);
  layout.stored_row_bytes = png_get_rowbytes(reader.png, reader.info);
}

void ask_for_8_bits(Reader& reader, Layout& layout) {
  png_set_expand(
      reader.png);  // palette to RGB, 1, 2 and 4 bits to 8, a transparent colour to alpha
  png_set_scale_16(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  layout.channels = png_get_channels(reader.png, reader.info);
  layout.row_bytes = png_get_rowbytes(reader.png, reader.info);
}

std::string utf8_from_latin1(const std::string& text) {
  std::string out;
  for (const unsigned char c : text) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else {
      out += static_cast<char>(0xc0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return out;
}

ImageText text_of(const Reader& reader) {
  png_textp entries = nullptr;
  int count = 0;
  png_get_text(reader.png, reader.info, &entries, &count);
  ImageText text;
  for (int i = 0; i < count; ++i) {
    const bool utf8 = entries[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    const std::string value = entries[i].text ? entries[i].text : "";
    text.emplace_back(utf8_from_latin1(entries[i].key), utf8 ? value : utf8_from_latin1(value));
  }
  return text;
}

int orientation_of(const Reader& reader) {
  png_bytep exif = nullptr;
  png_uint_32 size = 0;
  if (!png_get_eXIf_1(reader.png, reader.info, &size, &exif)) return 1;
  return exif_orientation({reinterpret_cast<const char*>(exif), size});
}

ImageNotes notes_of(const Layout& layout) {
  ImageNotes notes;
  if (layout.depth == 16) notes.push_back("16 bit reduced to 8");
  if (layout.colour == PNG_COLOR_TYPE_PALETTE) notes.push_back("palette expanded");
  return notes;
}

bool is_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

std::vector<png_text> text_chunks(const ImageText& text, const std::string& name) {
  std::vector<png_text> chunks;
  for (const auto& [key, value] : text) {
    // PNG 11.3.4.2: 1-79 printable characters.
    const bool printable =
        std::all_of(key.begin(), key.end(), [](char c) { return c >= 32 && c < 127; });
    if (key.empty() || key.size() > 79 || !printable || value.find('\0') != std::string::npos)
      fail("{}: a PNG cannot keep a text named {}", name, in_quotes(key));
    png_text chunk{};
    chunk.compression = is_ascii(value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    chunk.key = const_cast<char*>(key.c_str());
    chunk.text = const_cast<char*>(value.c_str());
    chunks.push_back(chunk);
  }
  return chunks;
}

}  // namespace

Decoded decode_png(std::string_view bytes, const std::string& name) {
  Reader reader(bytes);
  const auto run = [&](auto&& step) {
    if (!completes(reader.png, step)) fail("{}: unreadable PNG: {}", name, reader.session.message);
  };
  Layout layout;
  run([&] { read_header(reader, layout); });
  check_size(layout.width, layout.height, name);
  run([&] { ask_for_8_bits(reader, layout); });
  // Deflate packs at most 1032 to 1: a small file that promises more is not worth its memory.
  if (uint64_t{layout.stored_row_bytes} * layout.height / 1032 > bytes.size())
    fail("{}: unreadable PNG: {} bytes cannot hold {}x{} pixels", name, bytes.size(), layout.width,
         layout.height);
  Decoded decoded;
  decoded.image = {static_cast<int>(layout.width), static_cast<int>(layout.height), layout.channels,
                   std::vector<uint8_t>(layout.row_bytes * layout.height)};
  std::vector<png_bytep> rows(layout.height);
  for (size_t y = 0; y < rows.size(); ++y)
    rows[y] = decoded.image.pixels.data() + y * layout.row_bytes;
  run([&] {
    png_read_image(reader.png, rows.data());
    png_read_end(reader.png, reader.info);
  });
  decoded.notes = notes_of(layout);
  decoded.orientation = orientation_of(reader);
  decoded.text = text_of(reader);
  return decoded;
}

std::string encode_png(const Image& image, const ImageText& text, const std::string& name) {
  std::vector<png_text> chunks = text_chunks(text, name);
  Writer writer;
  const size_t row_bytes = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  const bool done = completes(writer.png, [&] {
    png_set_user_limits(writer.png, 0x7fffffff, 0x7fffffff);
    png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.width),
                 static_cast<png_uint_32>(image.height), 8,
                 image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!chunks.empty())
      png_set_text(writer.png, writer.info, chunks.data(), static_cast<int>(chunks.size()));
    png_write_info(writer.png, writer.info);
    for (size_t y = 0; y < static_cast<size_t>(image.height); ++y)
      png_write_row(writer.png, image.pixels.data() + y * row_bytes);
    png_write_end(writer.png, nullptr);
  });
  if (!done) fail_system("{}: cannot encode the PNG: {}", name, writer.session.message);
  return std::move(writer.session.out);
}

}  // namespace tweedie::codec

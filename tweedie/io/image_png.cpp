#include "tweedie/io/image.h"
#include <png.h>
#include <cstring>
#include "tweedie/core/error.h"
#include "tweedie/io/files.h"
namespace tweedie {
void write_image(const std::filesystem::path& file, const Image& image, const ImageText&) {
  png_image png = {};
  png.version = PNG_IMAGE_VERSION;
  png.width = image.width, png.height = image.height;
  png.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  png_image_write_get_memory_size(png, size, 0, image.pixels.data(), 0, nullptr);
  std::string bytes(size, 0);
  png_image_write_to_memory(&png, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr);
  bytes.resize(size);
  write_file(file, bytes);
}
bool is_image_file(const std::filesystem::path& file) { return file.extension() == ".png"; }
Image read_image(const std::filesystem::path& file, ImageNotes*) { fail("{}", file.string()); }
ImageText read_png_text(const std::filesystem::path&) { return {}; }
void write_animation(const std::filesystem::path&, const std::vector<Image>&, int) {}
}

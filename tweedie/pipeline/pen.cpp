#include "tweedie/pipeline/pen.h"

#include <cairo-svg.h>
#include <cairo.h>

#include <filesystem>
#include <memory>

#include "tweedie/core/error.h"
#include "tweedie/io/files.h"
#include "tweedie/pipeline/chart.h"

namespace tweedie {
namespace {

using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;

Surface raster(int width, int height) {
  return {cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height), cairo_surface_destroy};
}

cairo_status_t append(void* out, const unsigned char* bytes, unsigned size) {
  static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(bytes), size);
  return CAIRO_STATUS_SUCCESS;
}

void require(cairo_status_t status, const std::string& source) {
  if (status != CAIRO_STATUS_SUCCESS) fail_system("{}: {}", source, cairo_status_to_string(status));
}

void paint_on(cairo_surface_t* surface, const std::string& source, const Paint& paint) {
  const std::unique_ptr<cairo_t, decltype(&cairo_destroy)> cairo(cairo_create(surface),
                                                                 cairo_destroy);
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  paint(cairo.get());
  require(cairo_status(cairo.get()), source);
}

}  // namespace

Pen::Pen(cairo_t* cairo) : c_(cairo) {
  cairo_select_font_face(c_, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
}

void Pen::colour(Rgb rgb, double alpha) { cairo_set_source_rgba(c_, rgb.r, rgb.g, rgb.b, alpha); }

void Pen::series(size_t i, double width) {
  colour(kColours[i % std::size(kColours)]);
  const double dash[] = {6, 4};
  cairo_set_dash(c_, dash, i < std::size(kColours) ? 0 : 2, 0);
  cairo_set_line_width(c_, width);
}

void Pen::plain(double width) {
  cairo_set_dash(c_, nullptr, 0, 0);
  cairo_set_line_width(c_, width);
}

double Pen::text(double x, double y, const std::string& words, double size, double anchor) {
  cairo_set_font_size(c_, size);
  cairo_text_extents_t box;
  cairo_text_extents(c_, words.c_str(), &box);
  cairo_move_to(c_, x - anchor * box.x_advance, y);
  cairo_show_text(c_, words.c_str());
  return box.x_advance;
}

void Pen::line(double xa, double ya, double xb, double yb) {
  cairo_move_to(c_, xa, ya);
  cairo_line_to(c_, xb, yb);
  cairo_stroke(c_);
}

void Pen::picture(double x, double y, double wide, double high, const Image& image) {
  const Surface surface = raster(image.width, image.height);
  unsigned char* rows = cairo_image_surface_get_data(surface.get());
  const int stride = cairo_image_surface_get_stride(surface.get());
  const uint8_t* p = image.pixels.data();
  for (int row = 0; row < image.height; ++row)
    for (int column = 0; column < image.width; ++column, p += image.channels) {
      const uint32_t r = p[0], g = image.channels == 3 ? p[1] : r,
                     b = image.channels == 3 ? p[2] : r;
      reinterpret_cast<uint32_t*>(rows + row * stride)[column] = r << 16 | g << 8 | b;
    }
  cairo_surface_mark_dirty(surface.get());
  cairo_save(c_);
  cairo_translate(c_, x, y);
  cairo_scale(c_, wide, high);
  cairo_set_source_surface(c_, surface.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(c_),
                           wide >= 1 ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD);
  cairo_paint(c_);
  cairo_restore(c_);
}

Image drawing(int width, int height, const Paint& paint) {
  const Surface surface = raster(width, height);
  paint_on(surface.get(), "chart", paint);
  cairo_surface_flush(surface.get());
  const unsigned char* rows = cairo_image_surface_get_data(surface.get());
  const int stride = cairo_image_surface_get_stride(surface.get());
  Image out{width, height, 3, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const unsigned char* p = rows + y * stride + 4 * x;  // blue, green, red
      out.pixels.insert(out.pixels.end(), {p[2], p[1], p[0]});
    }
  return out;
}

void write_drawing(const std::string& file, double width, double height, const Paint& paint) {
  require_chart(file);
  std::string bytes;
  if (std::filesystem::path(file).extension() == ".svg") {
    const Surface surface(cairo_svg_surface_create_for_stream(append, &bytes, width, height),
                          cairo_surface_destroy);
    paint_on(surface.get(), file, paint);
    cairo_surface_finish(surface.get());
    require(cairo_surface_status(surface.get()), file);
  } else {
    const Surface surface = raster(static_cast<int>(width), static_cast<int>(height));
    paint_on(surface.get(), file, paint);
    require(cairo_surface_write_to_png_stream(surface.get(), append, &bytes), file);
  }
  write_file(file, bytes);
}

}  // namespace tweedie

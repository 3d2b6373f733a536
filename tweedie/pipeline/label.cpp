#include "tweedie/pipeline/label.h"

#include <cairo.h>

#include <algorithm>
#include <memory>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

constexpr int kSize = 12, kLine = 15, kMargin = 8;

using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
using Context = std::unique_ptr<cairo_t, decltype(&cairo_destroy)>;

Context context_on(const Surface& surface) {
  Context cairo(cairo_create(surface.get()), cairo_destroy);
  cairo_select_font_face(cairo.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                         CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo.get(), kSize);
  return cairo;
}

int width_of(const std::vector<LabelledRow>& rows) {
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, 1, 1),
                        cairo_surface_destroy);
  const Context cairo = context_on(surface);
  double width = 0;
  for (const LabelledRow& row : rows)
    for (const std::string& line : row.lines) {
      cairo_text_extents_t box;
      cairo_text_extents(cairo.get(), line.c_str(), &box);
      width = std::max(width, box.x_advance);
    }
  return static_cast<int>(width) + 1 + 2 * kMargin;
}

int height_of(const LabelledRow& row) {
  return std::max(row.picture.height, static_cast<int>(row.lines.size()) * kLine + kMargin);
}

// The words in grey, as one 8-bit plane of the canvas's size.
void write_words(const std::vector<LabelledRow>& rows, Image& canvas, int label_width) {
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, label_width, canvas.height),
                        cairo_surface_destroy);
  const Context cairo = context_on(surface);
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  cairo_set_source_rgb(cairo.get(), .2, .2, .2);
  int top = 0;
  for (const LabelledRow& row : rows) {
    const int words = static_cast<int>(row.lines.size()) * kLine;
    int y = top + (height_of(row) - words) / 2 + kSize;
    for (const std::string& line : row.lines) {
      cairo_move_to(cairo.get(), kMargin, y);
      cairo_show_text(cairo.get(), line.c_str());
      y += kLine;
    }
    top += height_of(row);
  }
  if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS)
    fail_system("labels: {}", cairo_status_to_string(cairo_status(cairo.get())));
  cairo_surface_flush(surface.get());
  const unsigned char* pixels = cairo_image_surface_get_data(surface.get());
  const int stride = cairo_image_surface_get_stride(surface.get());
  for (int y = 0; y < canvas.height; ++y)
    for (int x = 0; x < label_width; ++x)
      for (int c = 0; c < canvas.channels; ++c)
        canvas.pixels[(static_cast<size_t>(y) * canvas.width + x) * canvas.channels + c] =
            pixels[static_cast<size_t>(y) * stride + 4 * x];
}

void paste(const Image& picture, Image& canvas, int x0, int y0) {
  for (int y = 0; y < picture.height; ++y)
    for (int x = 0; x < picture.width; ++x)
      for (int c = 0; c < canvas.channels; ++c)
        canvas.pixels[(static_cast<size_t>(y0 + y) * canvas.width + x0 + x) * canvas.channels + c] =
            picture.pixels[(static_cast<size_t>(y) * picture.width + x) * picture.channels +
                           c % picture.channels];
}

}  // namespace

Image labelled_rows(const std::vector<LabelledRow>& rows) {
  const int label_width = width_of(rows);
  Image canvas{label_width, 0, 1, {}};
  for (const LabelledRow& row : rows) {
    canvas.width = std::max(canvas.width, label_width + row.picture.width);
    canvas.height += height_of(row);
    canvas.channels = std::max(canvas.channels, row.picture.channels);
  }
  canvas.pixels.assign(static_cast<size_t>(canvas.width) * canvas.height * canvas.channels, 255);
  write_words(rows, canvas, label_width);
  int top = 0;
  for (const LabelledRow& row : rows) {
    paste(row.picture, canvas, label_width, top + (height_of(row) - row.picture.height) / 2);
    top += height_of(row);
  }
  return canvas;
}

}  // namespace tweedie

// What charts are drawn with: lines, text and pictures on a Cairo surface.
#pragma once
#include <functional>
#include <string>

#include "tweedie/io/image.h"

using cairo_t = struct _cairo;

namespace tweedie {

struct Chart;

struct Rgb {
  double r, g, b;
};
constexpr Rgb kColours[] = {{.12, .35, .65}, {.85, .37, .05}, {.11, .55, .33},
                            {.55, .27, .60}, {.55, .45, .10}, {.30, .30, .30}};
constexpr Rgb kInk = {.2, .2, .2}, kGrid = {.88, .88, .88};

class Pen {
 public:
  explicit Pen(cairo_t* cairo);
  void colour(Rgb rgb, double alpha = 1);
  /// The i-th series: a colour, and dashes once the colours have been used up.
  void series(size_t i, double width);
  void plain(double width);
  /// `anchor` 0, .5 or 1: the text starts, is centred or ends at x. Returns its width.
  double text(double x, double y, const std::string& words, double size, double anchor);
  void line(double xa, double ya, double xb, double yb);
  /// `wide` and `high` are the lengths of a pixel's sides.
  void picture(double x, double y, double wide, double high, const Image& image);

 protected:
  cairo_t* c_;
};

using Paint = std::function<void(cairo_t*)>;

/// What `paint` draws on white, [height, width] in colour.
Image drawing(int width, int height, const Paint& paint);
/// The same as a file, by its extension: .png or .svg. Throws Error as write_chart().
void write_drawing(const std::string& file, double width, double height, const Paint& paint);

/// A chart without its legend, at the origin.
void paint_chart(cairo_t* cairo, const Chart& chart);

}  // namespace tweedie

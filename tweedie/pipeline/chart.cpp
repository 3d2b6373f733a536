#include "tweedie/pipeline/chart.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "tweedie/core/error.h"
#include "tweedie/io/files.h"

namespace tweedie {
namespace {

struct Rgb {
  double r, g, b;
};
constexpr Rgb kColours[] = {{.12, .35, .65}, {.85, .37, .05}, {.11, .55, .33},
                            {.55, .27, .60}, {.55, .45, .10}, {.30, .30, .30}};
constexpr Rgb kInk = {.2, .2, .2}, kGrid = {.88, .88, .88};
constexpr double kLeft = 64, kRight = 20, kTop = 36, kBottom = 48;

cairo_status_t append(void* out, const unsigned char* bytes, unsigned size) {
  static_cast<std::string*>(out)->append(reinterpret_cast<const char*>(bytes), size);
  return CAIRO_STATUS_SUCCESS;
}

// 1, 2 or 5 times a power of ten, about `count` of them over the span.
double tick_step(double span, int count) {
  const double raw = span / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1., 2., 5.})
    if (factor * power >= raw) return factor * power;
  return 10 * power;
}

std::string tick_text(double value) {
  if (std::abs(value) >= 1e6) return fmt::format("{:.3g}M", value / 1e6);
  if (std::abs(value) >= 1e3) return fmt::format("{:.3g}k", value / 1e3);
  return fmt::format("{:.3g}", value);
}

class Painter {
 public:
  Painter(cairo_t* cairo, const Chart& chart) : c_(cairo), chart_(chart) {
    for (const Chart::Series& series : chart.series)
      for (const auto& [x, y] : series.points) {
        if (chart.log_y && y <= 0) continue;
        x0_ = std::min(x0_, x), x1_ = std::max(x1_, x);
        y0_ = std::min(y0_, scale(y)), y1_ = std::max(y1_, scale(y));
      }
    if (x1_ <= x0_) x0_ -= 1, x1_ += 1;
    const double margin = y1_ > y0_ ? .05 * (y1_ - y0_) : 1;
    y0_ -= margin, y1_ += margin;
  }

  void paint() {
    colour({1, 1, 1});
    cairo_paint(c_);
    cairo_select_font_face(c_, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    axes();
    cairo_set_line_join(c_, CAIRO_LINE_JOIN_ROUND);
    for (size_t i = 0; i < chart_.series.size(); ++i) curve(chart_.series[i], kColours[i % 6]);
    legend();
  }

 private:
  double scale(double y) const { return chart_.log_y ? std::log10(y) : y; }
  double px(double x) const {
    return kLeft + (x - x0_) / (x1_ - x0_) * (chart_.width - kLeft - kRight);
  }
  double py(double scaled) const {
    return chart_.height - kBottom -
           (scaled - y0_) / (y1_ - y0_) * (chart_.height - kTop - kBottom);
  }
  void colour(Rgb rgb) { cairo_set_source_rgb(c_, rgb.r, rgb.g, rgb.b); }
  // `anchor` 0, .5 or 1: the text starts, is centred or ends at x.
  void text(double x, double y, const std::string& words, double size, double anchor) {
    cairo_set_font_size(c_, size);
    cairo_text_extents_t box;
    cairo_text_extents(c_, words.c_str(), &box);
    cairo_move_to(c_, x - anchor * box.x_advance, y);
    cairo_show_text(c_, words.c_str());
  }
  void line(double xa, double ya, double xb, double yb) {
    cairo_move_to(c_, xa, ya);
    cairo_line_to(c_, xb, yb);
    cairo_stroke(c_);
  }

  std::vector<double> y_ticks() const {
    std::vector<double> ticks;
    if (chart_.log_y && y1_ - y0_ > 0.7) {
      for (double decade = std::floor(y0_); decade <= y1_; ++decade)
        for (const double factor : {1., 2., 5.}) ticks.push_back(factor * std::pow(10, decade));
      return ticks;
    }
    const double low = chart_.log_y ? std::pow(10, y0_) : y0_,
                 high = chart_.log_y ? std::pow(10, y1_) : y1_;
    const double step = tick_step(high - low, 5);
    for (double y = std::ceil(low / step) * step; y <= high; y += step) ticks.push_back(y);
    return ticks;
  }

  void axes() {
    cairo_set_line_width(c_, 1);
    for (const double y : y_ticks()) {
      const double at = py(scale(y));
      if (at < kTop || at > chart_.height - kBottom) continue;
      colour(kGrid);
      line(kLeft, at, chart_.width - kRight, at);
      colour(kInk);
      text(kLeft - 6, at + 4, tick_text(y), 11, 1);
    }
    const double step = tick_step(x1_ - x0_, 6);
    for (double x = std::ceil(x0_ / step) * step; x <= x1_; x += step) {
      colour(kInk);
      line(px(x), chart_.height - kBottom, px(x), chart_.height - kBottom + 4);
      text(px(x), chart_.height - kBottom + 17, tick_text(x), 11, .5);
    }
    line(kLeft, chart_.height - kBottom, chart_.width - kRight, chart_.height - kBottom);
    text(kLeft, 22, chart_.title, 15, 0);
    text((kLeft + chart_.width - kRight) / 2, chart_.height - 10, chart_.x_label, 12, .5);
    cairo_save(c_);
    cairo_translate(c_, 14, (kTop + chart_.height - kBottom) / 2);
    cairo_rotate(c_, -std::acos(0.));
    text(0, 0, chart_.y_label, 12, .5);
    cairo_restore(c_);
  }

  void curve(const Chart::Series& series, Rgb rgb) {
    colour(rgb);
    cairo_set_line_width(c_, 1.8);
    cairo_new_path(c_);  // text leaves a current point behind
    for (const auto& [x, y] : series.points)
      if (!chart_.log_y || y > 0) cairo_line_to(c_, px(x), py(scale(y)));
    if (series.points.size() == 1) cairo_close_path(c_);  // with round caps: a dot
    cairo_set_line_cap(c_, CAIRO_LINE_CAP_ROUND);
    cairo_stroke(c_);
    cairo_set_line_cap(c_, CAIRO_LINE_CAP_BUTT);
  }

  void legend() {
    double y = kTop + 10;
    for (size_t i = 0; i < chart_.series.size(); ++i, y += 18) {
      colour(kColours[i % 6]);
      cairo_set_line_width(c_, 3);
      line(chart_.width - kRight - 16, y - 4, chart_.width - kRight, y - 4);
      colour(kInk);
      text(chart_.width - kRight - 22, y, chart_.series[i].name, 12, 1);
    }
  }

  cairo_t* c_;
  const Chart& chart_;
  double x0_ = 1e300, x1_ = -1e300, y0_ = 1e300, y1_ = -1e300;
};

}  // namespace

void require_chart(const std::string& file) {
  const std::string extension = std::filesystem::path(file).extension().string();
  if (extension != ".png" && extension != ".svg")
    fail("{}: unknown kind of chart '{}'; known: .png, .svg", file, extension);
}

void write_chart(const std::string& file, const Chart& chart) {
  require_chart(file);
  const std::string extension = std::filesystem::path(file).extension().string();
  std::string bytes;
  using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
  const Surface surface(
      extension == ".svg"
          ? cairo_svg_surface_create_for_stream(append, &bytes, chart.width, chart.height)
          : cairo_image_surface_create(CAIRO_FORMAT_RGB24, chart.width, chart.height),
      cairo_surface_destroy);
  const std::unique_ptr<cairo_t, decltype(&cairo_destroy)> cairo(cairo_create(surface.get()),
                                                                 cairo_destroy);
  Painter(cairo.get(), chart).paint();
  if (extension == ".png") cairo_surface_write_to_png_stream(surface.get(), append, &bytes);
  cairo_surface_finish(surface.get());
  if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS)
    fail_system("{}: {}", file, cairo_status_to_string(cairo_status(cairo.get())));
  write_file(file, bytes);
}

}  // namespace tweedie

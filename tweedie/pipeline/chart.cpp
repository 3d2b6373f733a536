#include "tweedie/pipeline/chart.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
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
constexpr double kMargin = 16, kHead = 66, kNames = 140, kGap = 4, kCaptions = 30;  // of a page

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

class Pen {
 public:
  explicit Pen(cairo_t* cairo) : c_(cairo) {
    cairo_select_font_face(c_, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  }
  void colour(Rgb rgb, double alpha = 1) { cairo_set_source_rgba(c_, rgb.r, rgb.g, rgb.b, alpha); }
  // The i-th series: a colour, and dashes once the colours have been used up.
  void series(size_t i, double width) {
    colour(kColours[i % std::size(kColours)]);
    const double dash[] = {6, 4};
    cairo_set_dash(c_, dash, i < std::size(kColours) ? 0 : 2, 0);
    cairo_set_line_width(c_, width);
  }
  void plain(double width) {
    cairo_set_dash(c_, nullptr, 0, 0);
    cairo_set_line_width(c_, width);
  }
  // `anchor` 0, .5 or 1: the text starts, is centred or ends at x. Returns its width.
  double text(double x, double y, const std::string& words, double size, double anchor) {
    cairo_set_font_size(c_, size);
    cairo_text_extents_t box;
    cairo_text_extents(c_, words.c_str(), &box);
    cairo_move_to(c_, x - anchor * box.x_advance, y);
    cairo_show_text(c_, words.c_str());
    return box.x_advance;
  }
  void line(double xa, double ya, double xb, double yb) {
    cairo_move_to(c_, xa, ya);
    cairo_line_to(c_, xb, yb);
    cairo_stroke(c_);
  }
  // `wide` and `high` are the lengths of a pixel's sides.
  void picture(double x, double y, double wide, double high, const Image& image);

 protected:
  cairo_t* c_;
};

void Pen::picture(double x, double y, double wide, double high, const Image& image) {
  using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, image.width, image.height),
                        cairo_surface_destroy);
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

class ChartPainter : public Pen {
 public:
  ChartPainter(cairo_t* cairo, const Chart& chart) : Pen(cairo), chart_(chart) {
    if (chart.box) {
      x0_ = chart.box->x0, x1_ = chart.box->x1;
      y0_ = scale(chart.box->y0), y1_ = scale(chart.box->y1);
      return;
    }
    for (const Chart::Series& series : chart.series)
      for (const auto& [x, y] : series.points) {
        if ((chart.log_y && y <= 0) || std::isnan(y)) continue;
        x0_ = std::min(x0_, x), x1_ = std::max(x1_, x);
        y0_ = std::min(y0_, scale(y)), y1_ = std::max(y1_, scale(y));
      }
    if (x1_ <= x0_) x0_ -= 1, x1_ += 1;
    const double margin = y1_ > y0_ ? .05 * (y1_ - y0_) : 1;
    y0_ -= margin, y1_ += margin;
  }

  void paint() {
    const double wide = chart_.width - kLeft - kRight, high = chart_.height - kTop - kBottom;
    const Image& below = chart_.backdrop;
    if (below.width > 0)
      picture(kLeft, kTop, wide / below.width, high / below.height, below);
    else
      grid();
    axes();
    cairo_save(c_);
    if (chart_.box) cairo_rectangle(c_, kLeft, kTop, wide, high), cairo_clip(c_);
    cairo_set_line_join(c_, CAIRO_LINE_JOIN_ROUND);
    for (size_t i = 0; i < chart_.series.size(); ++i) {
      series(i, chart_.series[i].size);
      if (chart_.series[i].dots)
        dots(chart_.series[i], kColours[i % std::size(kColours)]);
      else
        curve(chart_.series[i]);
    }
    cairo_restore(c_);
    plain(1);
  }

  void legend() {
    double y = kTop + 10;
    for (size_t i = 0; i < chart_.series.size(); ++i, y += 18) {
      if (chart_.series[i].name.empty()) continue;
      series(i, 3);
      line(chart_.width - kRight - 16, y - 4, chart_.width - kRight, y - 4);
      colour(kInk);
      text(chart_.width - kRight - 22, y, chart_.series[i].name, 12, 1);
    }
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

  std::vector<double> y_ticks() const {
    std::vector<double> ticks;
    if (chart_.log_y && y1_ - y0_ > 0.7) {
      const bool decades_alone = y1_ - y0_ > 3;
      for (double decade = std::floor(y0_); decade <= y1_; ++decade)
        for (const double factor : {1., 2., 5.})
          if (factor == 1 || !decades_alone) ticks.push_back(factor * std::pow(10, decade));
      return ticks;
    }
    const double low = chart_.log_y ? std::pow(10, y0_) : y0_,
                 high = chart_.log_y ? std::pow(10, y1_) : y1_;
    const double step = tick_step(high - low, 6);
    for (double i = std::ceil(low / step); i * step <= high; ++i)
      ticks.push_back(i * step + 0.);  // not -0
    return ticks;
  }

  void grid() {
    plain(1);
    colour(kGrid);
    for (const double y : y_ticks())
      if (inside(y)) line(kLeft, py(scale(y)), chart_.width - kRight, py(scale(y)));
  }

  void axes() {
    plain(1);
    colour(kInk);
    for (const double y : y_ticks()) {
      if (!inside(y)) continue;
      const double at = py(scale(y));
      text(kLeft - 6, at + 4, tick_text(y), 11, 1);
    }
    colour(kInk);
    const double step = tick_step(x1_ - x0_, 6);
    for (double x = std::ceil(x0_ / step) * step; x <= x1_; x += step) {
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

  bool inside(double y) const {
    return py(scale(y)) >= kTop && py(scale(y)) <= chart_.height - kBottom;
  }

  void dots(const Chart::Series& series, Rgb rgb) {
    colour(rgb, .6);
    for (const auto& [x, y] : series.points) {
      cairo_new_path(c_);
      cairo_arc(c_, px(x), py(scale(y)), series.size, 0, 4 * std::acos(0.));
      cairo_fill(c_);
    }
  }

  void curve(const Chart::Series& series) {
    cairo_new_path(c_);  // text leaves a current point behind
    for (const auto& [x, y] : series.points) {
      if (std::isnan(y)) cairo_new_sub_path(c_);
      if (chart_.log_y ? y > 0 : !std::isnan(y)) cairo_line_to(c_, px(x), py(scale(y)));
    }
    if (series.points.size() == 1) cairo_close_path(c_);  // with round caps: a dot
    cairo_set_line_cap(c_, CAIRO_LINE_CAP_ROUND);
    cairo_stroke(c_);
    cairo_set_line_cap(c_, CAIRO_LINE_CAP_BUTT);
  }

  const Chart& chart_;
  double x0_ = 1e300, x1_ = -1e300, y0_ = 1e300, y1_ = -1e300;
};

// Where things are on a page.
struct Layout {
  double width = 0, height = 0;
  double strips_top = 0, factor = 1;       // the pictures' enlargement
  double cell_width = 0, cell_height = 0;  // of a picture with its gap
};

Layout layout_of(const Page& page) {
  const Chart& panel = page.panels.at(0);
  const int64_t rows = (static_cast<int64_t>(page.panels.size()) + page.columns - 1) / page.columns;
  Layout at{.width = static_cast<double>(page.columns) * panel.width};
  at.strips_top = kHead + static_cast<double>(rows) * panel.height + kMargin;
  at.height = at.strips_top;
  if (page.strips.empty()) return at;
  const Image& first = page.strips[0].pictures.at(0);
  const double count = static_cast<double>(page.strips[0].pictures.size());
  at.factor = ((at.width - kNames - 2 * kMargin) / count - kGap) / first.width;
  if (at.factor > 1) at.factor = std::floor(at.factor);  // every pixel of one size
  at.cell_width = at.factor * first.width + kGap;
  at.cell_height = at.factor * first.height + kGap;
  at.height += static_cast<double>(page.strips.size()) * at.cell_height + kCaptions;
  return at;
}

class PagePainter : public Pen {
 public:
  PagePainter(cairo_t* cairo, const Page& page, const Layout& layout)
      : Pen(cairo), page_(page), at_(layout) {}

  void paint() {
    colour(kInk);
    text(kMargin, 26, page_.title, 17, 0);
    legend();
    for (int i = 0; i < static_cast<int>(page_.panels.size()); ++i) {
      const Chart& panel = page_.panels[i];
      cairo_save(c_);
      cairo_translate(c_, i % page_.columns * panel.width,
                      kHead + i / page_.columns * panel.height);
      ChartPainter(c_, panel).paint();
      cairo_restore(c_);
    }
    strips();
  }

 private:
  void legend() {
    double x = kMargin;
    const std::vector<Chart::Series>& all = page_.panels.at(0).series;
    for (size_t i = 0; i < all.size(); ++i) {
      series(i, 3);
      line(x, 46, x + 20, 46);
      colour(kInk);
      x += 26 + text(x + 26, 50, all[i].name, 12, 0) + 20;
    }
    plain(1);
  }

  void strips() {
    const double left = kMargin + kNames;
    double y = at_.strips_top;
    for (const Page::Strip& strip : page_.strips) {
      colour(kInk);
      text(left - 10, y + at_.cell_height / 2 + 4, strip.name, 12, 1);
      for (size_t i = 0; i < strip.pictures.size(); ++i)
        picture(left + static_cast<double>(i) * at_.cell_width, y, at_.factor, at_.factor,
                strip.pictures[i]);
      y += at_.cell_height;
    }
    colour(kInk);
    for (size_t i = 0; i < page_.captions.size(); ++i)
      text(left + (static_cast<double>(i) + .5) * at_.cell_width - kGap / 2, y + 12,
           page_.captions[i], 11, .5);
  }

  const Page& page_;
  const Layout& at_;
};

// `paint` on white.
void write_drawing(const std::string& file, double width, double height,
                   const std::function<void(cairo_t*)>& paint) {
  require_chart(file);
  const std::string extension = std::filesystem::path(file).extension().string();
  std::string bytes;
  using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
  const Surface surface(
      extension == ".svg" ? cairo_svg_surface_create_for_stream(append, &bytes, width, height)
                          : cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width),
                                                       static_cast<int>(height)),
      cairo_surface_destroy);
  const std::unique_ptr<cairo_t, decltype(&cairo_destroy)> cairo(cairo_create(surface.get()),
                                                                 cairo_destroy);
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  paint(cairo.get());
  if (extension == ".png") cairo_surface_write_to_png_stream(surface.get(), append, &bytes);
  cairo_surface_finish(surface.get());
  if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS)
    fail_system("{}: {}", file, cairo_status_to_string(cairo_status(cairo.get())));
  write_file(file, bytes);
}

}  // namespace

void require_chart(const std::string& file) {
  const std::string extension = std::filesystem::path(file).extension().string();
  if (extension != ".png" && extension != ".svg")
    fail("{}: unknown kind of chart '{}'; known: .png, .svg", file, extension);
}

void write_chart(const std::string& file, const Chart& chart) {
  write_drawing(file, chart.width, chart.height, [&](cairo_t* cairo) {
    ChartPainter painter(cairo, chart);
    painter.paint();
    painter.legend();
  });
}

Image draw_chart(const Chart& chart) {
  using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, chart.width, chart.height),
                        cairo_surface_destroy);
  const std::unique_ptr<cairo_t, decltype(&cairo_destroy)> cairo(cairo_create(surface.get()),
                                                                 cairo_destroy);
  cairo_set_source_rgb(cairo.get(), 1, 1, 1);
  cairo_paint(cairo.get());
  ChartPainter painter(cairo.get(), chart);
  painter.paint();
  painter.legend();
  if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS)
    fail_system("chart: {}", cairo_status_to_string(cairo_status(cairo.get())));
  cairo_surface_flush(surface.get());
  const unsigned char* rows = cairo_image_surface_get_data(surface.get());
  const int stride = cairo_image_surface_get_stride(surface.get());
  Image out{chart.width, chart.height, 3, {}};
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const unsigned char* p = rows + y * stride + 4 * x;  // blue, green, red
      out.pixels.insert(out.pixels.end(), {p[2], p[1], p[0]});
    }
  return out;
}

void write_page(const std::string& file, const Page& page) {
  const Layout layout = layout_of(page);
  write_drawing(file, layout.width, layout.height,
                [&](cairo_t* cairo) { PagePainter(cairo, page, layout).paint(); });
}

}  // namespace tweedie

#include "tweedie/pipeline/chart.h"

#include <cairo.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tweedie/core/error.h"
#include "tweedie/pipeline/pen.h"

namespace tweedie {
namespace {

constexpr double kLeft = 64, kRight = 20, kTop = 36, kBottom = 48;

// 1, 2 or 5 times a power of ten, about `count` of them over the span.
double tick_step(double span, int count) {
  const double raw = span / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1., 2., 5.})
    if (factor * power >= raw) return factor * power;
  return 10 * power;
}

std::string tick_text(double value) {
  if (std::abs(value) >= 1e6) return formatted("{:.3g}M", value / 1e6);
  if (std::abs(value) >= 1e3) return formatted("{:.3g}k", value / 1e3);
  return formatted("{:.3g}", value);
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
    if (x0_ > x1_) x0_ = x1_ = y0_ = y1_ = 0;  // no points
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

  void paint_with_legend() {
    paint();
    legend();
  }

 private:
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

}  // namespace

void require_chart(const std::string& file) {
  const std::string extension = std::filesystem::path(file).extension().string();
  if (extension != ".png" && extension != ".svg")
    fail("{}: unknown kind of chart '{}'; known: .png, .svg", file, extension);
}

void paint_chart(cairo_t* cairo, const Chart& chart) { ChartPainter(cairo, chart).paint(); }

void write_chart(const std::string& file, const Chart& chart) {
  write_drawing(file, chart.width, chart.height,
                [&](cairo_t* cairo) { ChartPainter(cairo, chart).paint_with_legend(); });
}

Image draw_chart(const Chart& chart) {
  return drawing(chart.width, chart.height,
                 [&](cairo_t* cairo) { ChartPainter(cairo, chart).paint_with_legend(); });
}

}  // namespace tweedie

// Charts of lines and dots as PNG or SVG.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tweedie/io/image.h"

namespace tweedie {

struct Chart {
  struct Series {
    std::string name = {};
    std::vector<std::pair<double, double>> points = {};  ///< a NaN is a gap of the line
    bool dots = false;                                   ///< not a line
    double size = 1.8;                                   ///< width of the line, radius of a dot
  };
  std::string title = {}, x_label = {}, y_label = {};
  bool log_y = false;  ///< points with y <= 0 are left out
  std::vector<Series> series = {};
  struct Box {
    double x0, x1, y0, y1;
  };
  std::optional<Box> box = {};  ///< what the axes show; absent: all points
  Image backdrop = {};          ///< fills the axes, below the series
  int width = 720, height = 420;
};

/// Throws Error (user) unless a chart can be written under that extension.
void require_chart(const std::string& file);

/// Writes by the extension (.png or .svg), through a temporary file. Throws Error: user for another
/// extension, system for a failed write.
void write_chart(const std::string& file, const Chart& chart);
Image draw_chart(const Chart& chart);

}  // namespace tweedie

// Charts of lines and dots as PNG or SVG, drawn with Cairo: one, or a page of them with pictures.
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

/// Charts row by row and, below them, rows of pictures.
struct Page {
  struct Strip {
    std::string name = {};
    std::vector<Image> pictures = {};
  };
  std::string title = {};
  std::vector<Chart> panels = {};  ///< one at least, all with the same series: one legend for all
  int columns = 2;                 ///< panels side by side
  std::vector<Strip> strips = {};  ///< equally many pictures, all of one size
  std::vector<std::string> captions = {};  ///< below the strips, one for each picture of a row
};

/// Throws Error (user) unless a chart can be written under that extension.
void require_chart(const std::string& file);

/// Writes by the extension (.png or .svg), through a temporary file. Throws Error: user for another
/// extension, system for a failed write.
void write_chart(const std::string& file, const Chart& chart);
Image draw_chart(const Chart& chart);
void write_page(const std::string& file, const Page& page);

}  // namespace tweedie

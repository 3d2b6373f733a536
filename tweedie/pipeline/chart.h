// Line charts as PNG or SVG, drawn with Cairo.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace tweedie {

struct Chart {
  struct Series {
    std::string name = {};
    std::vector<std::pair<double, double>> points = {};  ///< x ascending
  };
  std::string title = {}, x_label = {}, y_label = {};
  bool log_y = false;  ///< points with y <= 0 are left out
  std::vector<Series> series = {};
  int width = 720, height = 420;
};

/// Throws Error (user) unless a chart can be written under that extension.
void require_chart(const std::string& file);

/// Writes by the extension (.png or .svg), through a temporary file. Throws Error: user for another
/// extension, system for a failed write.
void write_chart(const std::string& file, const Chart& chart);

}  // namespace tweedie

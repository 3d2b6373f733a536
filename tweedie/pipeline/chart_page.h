// A page of charts with rows of pictures, as PNG or SVG.
#pragma once
#include <string>
#include <vector>

#include "tweedie/pipeline/chart.h"

namespace tweedie {

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

/// As write_chart().
void write_page(const std::string& file, const Page& page);

}  // namespace tweedie

// Pictures with words beside them, drawn with Cairo.
#pragma once
#include <string>
#include <vector>

#include "tweedie/io/image.h"

namespace tweedie {

struct LabelledRow {
  std::vector<std::string> lines;  ///< of the label, top to bottom
  Image picture;
};

/// The rows one below the other, each with its label to the left on white. Throws Error (system)
/// where Cairo fails.
Image labelled_rows(const std::vector<LabelledRow>& rows);

}  // namespace tweedie

// Pictures side by side.
#pragma once
#include <vector>

#include "tweedie/io/image.h"

namespace tweedie {

/// Equal-sized images row by row in `columns` columns, `gap` white pixels between and around
/// them. Grey and
/// RGB may be mixed: the grid is then RGB. Throws Error (user) for none, or for sizes that differ.
Image tile(const std::vector<Image>& images, int columns, int gap);

}  // namespace tweedie

// From 8-bit pixels into a batch tensor, without anything in between.
#pragma once
#include "tweedie/io/image.h"

namespace tweedie {

/// Writes x = p/127.5 - 1 to chw[C][H][W], mirrored left to right if `flip`.
void write_pixels(const Image& image, bool flip, float* chw);

}  // namespace tweedie

// Which 3x3 convolution is faster here, measured.
#pragma once
#include "tweedie/kernels/conv.h"

namespace tweedie {

/// Seconds of one call: the fastest of three, after one that is not counted.
struct ConvTimes {
  double stock, winograd;
};

/// Of random images and a random filter, on the threads of LibTorch; `gradients`: with those of the
/// input, the filter and the bias too. Takes eight calls.
ConvTimes time_conv3x3(const ConvShape& shape, int64_t batch, bool gradients);

}  // namespace tweedie

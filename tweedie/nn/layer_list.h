// The layers of a network that multiply, with the sizes they have for images of one size.
#pragma once
#include <string>
#include <vector>

#include "tweedie/kernels/conv.h"
#include "tweedie/nn/network.h"

namespace tweedie {

struct ConvLayer {
  std::string name;  ///< "down_blocks.0.resnets.0.conv1"
  int64_t in, out, kernel, stride;
  int64_t height, width;  ///< of the output
  /// FLOP of the direct method for an image.
  double flop() const {
    return 2.0 * double(in * out) * double(kernel * kernel) * double(height * width);
  }
  /// Whether conv3x3 computes it, by a ConvPlan.
  bool is_planned() const { return kernel == 3 && stride == 1; }
  ConvShape shape() const { return {in, out, height, width}; }
};

struct AttentionLayer {
  std::string name;
  int64_t tokens, heads, dim;
  /// FLOP of the two products with queries and values for an image.
  double flop() const { return 4.0 * double(tokens * tokens) * double(heads * dim); }
};

/// In the order in which they run.
struct LayerList {
  std::vector<ConvLayer> convolutions;
  std::vector<AttentionLayer> attentions;
};

/// Found by a pass of one image of zeros. Throws Error (user) if the network does not take that
/// size.
LayerList layers_of(Network net, int64_t height, int64_t width);

}  // namespace tweedie

// What a multilayer perceptron is made of.
#pragma once
#include "tweedie/nn/network_options.h"

namespace tweedie {

struct MlpOptions : NetworkOptions {
  MlpOptions() { in_channels = out_channels = 2; }
  int64_t width = 128, depth = 3, frequencies = 4;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("sample_size", self.sample_size, "null or [1, 1]: a point is an image of one pixel");
    field("in_channels", self.in_channels, "numbers of a point", between(1, 1 << 20));
    field("out_channels", self.out_channels, "as many, or twice for a learned variance",
          between(1, 1 << 20));
    field("width", self.width, "numbers inside; even", between(4, 1 << 16));
    field("depth", self.depth, "layers, each of two products, that add to the last",
          between(1, 1000));
    field(
        "frequencies", self.frequencies,
        "sines and cosines of each number, of 1, 2, 4, ... times it: what is fine is learnt sooner",
        between(0, 16));
    field("num_class_embeds", self.num_class_embeds, "classes, the null class included",
          at_least(1));
  }
};

/// Throws Error, one line with key, value and choices, for what no network can be built from.
void validate(const MlpOptions& options);

}  // namespace tweedie

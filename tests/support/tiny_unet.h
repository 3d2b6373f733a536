// The smallest U-Net that has every part of a usual one: two levels, attention at the lower.
#pragma once
#include "tweedie/nn/unet.h"

namespace tweedie::testing {

inline UNetOptions tiny_unet(int64_t channels = 1, std::vector<int64_t> widths = {8, 16}) {
  UNetOptions options;
  options.in_channels = options.out_channels = channels;
  options.block_out_channels = std::move(widths);
  options.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  options.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  options.layers_per_block = 1;
  options.norm_num_groups = 4;
  return options;
}

}  // namespace tweedie::testing

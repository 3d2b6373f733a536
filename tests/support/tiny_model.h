// A tiny model folder: 8x8 grey, untrained; with `classes` > 0 class-conditional with a null class.
#pragma once
#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"
#include "tweedie/pipeline/model_folder.h"

namespace tweedie::testing {

inline void make_model(const std::string& folder, int classes = 0) {
  UNetOptions options;
  options.sample_size = Json::array({8, 8});
  options.in_channels = options.out_channels = 1;
  options.block_out_channels = {8, 8};
  options.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  options.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  options.layers_per_block = 1;
  options.norm_num_groups = 4;
  if (classes > 0) options.num_class_embeds = classes + 1;
  UNet net(options);
  initialise(*net, 1);
  ModelCard card;
  card.version = "test";
  card.steps = 5;
  if (classes > 0) card.null_class = classes;
  for (int i = 0; i < classes; ++i) card.classes.push_back("kind" + std::to_string(i));
  save_model(folder, options, state_of(*net), {}, card);
}

}  // namespace tweedie::testing

// A tiny model folder: 8x8 grey, untrained; with `classes` > 0 class-conditional with a null class.
#pragma once
#include "tests/support/tiny_unet.h"
#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"
#include "tweedie/pipeline/model_folder.h"

namespace tweedie::testing {

inline void make_model(const std::string& folder, int classes = 0,
                       const std::string& class_embed_type = "", int64_t channels = 1) {
  UNetOptions options = tiny_unet(channels, {8, 8});
  options.sample_size = Json::array({8, 8});
  if (classes > 0) options.num_class_embeds = classes + 1;
  if (!class_embed_type.empty()) options.class_embed_type = class_embed_type;
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

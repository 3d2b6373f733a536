// The keys that every network has, under the names of diffusers' config.json.
#pragma once
#include <optional>
#include <string>
#include <utility>

#include "tweedie/core/options.h"

namespace tweedie {

struct NetworkOptions {
  Json sample_size;  ///< null, 32 or [height, width]; see image_size()
  int64_t in_channels = 3, out_channels = 3;
  std::string time_embedding_type = "positional";
  std::optional<std::string> class_embed_type;
  std::optional<int64_t> num_class_embeds, num_train_timesteps;

  /// Height and width of `sample_size`, if it is set.
  std::optional<std::pair<int64_t, int64_t>> image_size() const;
  /// Whether the network takes class labels.
  bool conditional() const { return class_embed_type || num_class_embeds; }
};

}  // namespace tweedie

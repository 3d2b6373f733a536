// How a model's layers are computed, for `tweedie info --plan`.
#pragma once
#include "cli.h"
#include "tweedie/pipeline/model_folder.h"

namespace tweedie::cli {

struct LayerTable {
  std::vector<std::string> lines;  ///< for the user to read
  Json json;
};
/// Every convolution and attention in the order of a pass, by the rule, as images of the model's
/// size are sampled.
LayerTable layer_table(const Model& model);

}  // namespace tweedie::cli

#include "tweedie/nn/block_types.h"

#include <algorithm>

namespace tweedie {

const std::vector<BlockType>& down_blocks() {
  static const std::vector<BlockType> types = {{"DownBlock2D", false, false, false},
                                               {"AttnDownBlock2D", true, false, false},
                                               {"ResnetDownsampleBlock2D", false, false, true},
                                               {"SkipDownBlock2D", false, true, true},
                                               {"AttnSkipDownBlock2D", true, true, true}};
  return types;
}

const std::vector<BlockType>& up_blocks() {
  static const std::vector<BlockType> types = {{"UpBlock2D", false, false, false},
                                               {"AttnUpBlock2D", true, false, false},
                                               {"ResnetUpsampleBlock2D", false, false, true},
                                               {"SkipUpBlock2D", false, true, true},
                                               {"AttnSkipUpBlock2D", true, true, true}};
  return types;
}

namespace {

std::vector<std::string> names(const std::vector<BlockType>& types) {
  std::vector<std::string> list;
  for (const BlockType& type : types) list.push_back(type.name);
  return list;
}

}  // namespace

std::vector<std::string> down_block_types() { return names(down_blocks()); }
std::vector<std::string> up_block_types() { return names(up_blocks()); }

const BlockType& find_block(const std::vector<BlockType>& known, const std::string& name) {
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const BlockType& type) { return type.name == name; });
  if (found == known.end()) fail_unknown("block type", name, names(known));
  return *found;
}

int64_t default_groups(int64_t channels) { return std::min<int64_t>(channels / 4, 32); }

int64_t attn_skip_up_groups(int64_t below, int64_t skip) {
  return std::min<int64_t>(below + skip / 4, 32);
}

std::pair<int64_t, int64_t> up_inputs(const UNetOptions& o, int64_t level, int64_t layer) {
  const auto coarsest_first = o.block_out_channels.rbegin();
  const int64_t last = static_cast<int64_t>(o.block_out_channels.size()) - 1;
  const int64_t own = coarsest_first[level];
  return {layer == 0 ? coarsest_first[std::max<int64_t>(level - 1, 0)] : own,
          layer == o.layers_per_block ? coarsest_first[std::min(level + 1, last)] : own};
}

int64_t head_dim(const UNetOptions& options, int64_t channels) {
  return options.attention_head_dim.value_or(channels);
}

}  // namespace tweedie

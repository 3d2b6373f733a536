// The block types of UNet2DModel by name, and the widths and groups that follow from the options.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tweedie/nn/unet_options.h"

namespace tweedie {

/// What a block type's name says.
struct BlockType {
  std::string name;
  bool attention;  ///< after every resnet (AttnSkipUpBlock2D: once, after all)
  bool skip;       ///< NCSN++: an RGB image beside the features
  bool resnet;     ///< a resnet changes the resolution, not a convolution
};
const std::vector<BlockType>& down_blocks();
const std::vector<BlockType>& up_blocks();
/// The entry of this name; it is there if the options are valid.
const BlockType& find_block(const std::vector<BlockType>& known, const std::string& name);

/// The image that skip blocks carry is RGB, whatever the options say.
constexpr int64_t kSkipImageChannels = 3;
/// AttnSkip blocks normalise in 32 groups before attention, whatever the options say.
constexpr int64_t kSkipAttentionGroups = 32;

/// Groups of a normalisation where the options leave them open: min(channels / 4, 32).
int64_t default_groups(int64_t channels);
/// First normalisation in AttnSkipUpBlock2D, whose inputs are `below` and `skip` wide: diffusers'
/// precedence.
int64_t attn_skip_up_groups(int64_t below, int64_t skip);

/// Widths of the inputs of resnet `layer` of the up block at `level` (0 is the coarsest): from
/// below, from the skip.
std::pair<int64_t, int64_t> up_inputs(const UNetOptions& options, int64_t level, int64_t layer);
/// Channels of an attention head in a block of this width.
int64_t head_dim(const UNetOptions& options, int64_t channels);

}  // namespace tweedie

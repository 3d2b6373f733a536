// What a U-Net is made of: the keys of diffusers' UNet2DModel config.json with their defaults.
#pragma once
#include <vector>

#include "tweedie/nn/network_options.h"

namespace tweedie {

/// The block types by name, first those for the way down, then those for the way up.
std::vector<std::string> down_block_types();
std::vector<std::string> up_block_types();

struct UNetOptions : NetworkOptions {
  static constexpr double kMostChannels = 1 << 20;

  bool center_input_sample = false;
  std::optional<int64_t> time_embedding_dim;
  int64_t freq_shift = 0;
  bool flip_sin_to_cos = true;
  std::vector<std::string> down_block_types = {"DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D",
                                               "AttnDownBlock2D"};
  std::optional<std::string> mid_block_type = "UNetMidBlock2D";
  std::vector<std::string> up_block_types = {"AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D",
                                             "UpBlock2D"};
  std::vector<int64_t> block_out_channels = {224, 448, 672, 896};
  int64_t layers_per_block = 2;
  double mid_block_scale_factor = 1;
  int64_t downsample_padding = 1;
  std::string downsample_type = "conv", upsample_type = "conv";
  double dropout = 0;
  std::string act_fn = "silu";
  std::optional<int64_t> attention_head_dim = 8;
  std::optional<int64_t> norm_num_groups = 32, attn_norm_num_groups;
  double norm_eps = 1e-5;
  std::string resnet_time_scale_shift = "default";
  bool add_attention = true;

  /// Width of the time embedding.
  int64_t temb_channels() const;
  /// Sides of an image must be multiples of this: one halving for every block but the last.
  int64_t side_multiple() const { return int64_t{1} << (block_out_channels.size() - 1); }

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("sample_size", self.sample_size, "size of the images: null, a number or [height, width]");
    field("in_channels", self.in_channels, "channels of the input", between(1, kMostChannels));
    field("out_channels", self.out_channels, "channels of the output", between(1, kMostChannels));
    field("center_input_sample", self.center_input_sample, "the input is in [0,1]: 2x - 1 first");
    field("time_embedding_type", self.time_embedding_type, "how the network hears of the time",
          one_of({"positional", "fourier", "learned"}));
    field("time_embedding_dim", self.time_embedding_dim,
          "width of the time embedding; null or 0 is 4 block_out_channels[0]", at_least(0));
    field("freq_shift", self.freq_shift, "sinusoid: the last frequency is 1e-4^((h-1)/(h-shift))");
    field("flip_sin_to_cos", self.flip_sin_to_cos, "sinusoid: cosines first");
    field("down_block_types", self.down_block_types, "blocks from the finest to the coarsest",
          one_of(tweedie::down_block_types()));
    field("mid_block_type", self.mid_block_type, "null is no block in the middle",
          one_of({"UNetMidBlock2D"}));
    field("up_block_types", self.up_block_types, "blocks from the coarsest to the finest",
          one_of(tweedie::up_block_types()));
    field("block_out_channels", self.block_out_channels, "channels of each block",
          between(1, kMostChannels));
    field("layers_per_block", self.layers_per_block, "resnets in a block on the way down",
          between(1, 1000));
    field("mid_block_scale_factor", self.mid_block_scale_factor, "divides the middle's outputs");
    field("downsample_padding", self.downsample_padding,
          "convolutional downsampling: 1 pads all around, 0 pads right and bottom", at_least(0));
    field("downsample_type", self.downsample_type, "how AttnDownBlock2D halves",
          one_of({"conv", "resnet"}));
    field("upsample_type", self.upsample_type, "how AttnUpBlock2D doubles",
          one_of({"conv", "resnet"}));
    field("dropout", self.dropout, "share of the features dropped in each resnet", between(0, 1));
    field("act_fn", self.act_fn, "activation in the resnets",
          one_of({"silu", "swish", "mish", "gelu", "relu"}));
    field("attention_head_dim", self.attention_head_dim, "channels of a head; null is one head",
          at_least(1));
    field("norm_num_groups", self.norm_num_groups, "groups of the normalisations", at_least(1));
    field("attn_norm_num_groups", self.attn_norm_num_groups,
          "groups in the middle's attention; null: norm_num_groups, or no norm with scale_shift",
          at_least(1));
    field("norm_eps", self.norm_eps, "added to the variance", at_least(0));
    field("resnet_time_scale_shift", self.resnet_time_scale_shift,
          "the time is added, or scales and shifts", one_of({"default", "scale_shift"}));
    field("add_attention", self.add_attention, "attention in the middle");
    field("class_embed_type", self.class_embed_type,
          "null: an embedding if num_class_embeds is set", one_of({"timestep", "identity"}));
    field("num_class_embeds", self.num_class_embeds, "classes, the null class included",
          at_least(1));
    field("num_train_timesteps", self.num_train_timesteps, "times of a learned time embedding",
          at_least(1));
  }
};

/// Throws Error, one line with key, value and choices, for what no U-Net can be built from.
void validate(const UNetOptions& options);

/// Floats that an image leaves behind for the backward pass, estimated; within about a third.
double activation_floats(const UNetOptions& options, int64_t height, int64_t width);

/// Reads a config.json: ignores keys that begin with _ (but a _class_name must be UNet2DModel) and
/// what an EMA folder adds; takes the names that keys had before diffusers 0.1; refuses other keys;
/// validates. to_json(options) is the way back.
UNetOptions unet_options_from_json(const Json& json);

}  // namespace tweedie

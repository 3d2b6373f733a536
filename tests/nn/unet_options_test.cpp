#include "tweedie/nn/unet_options.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/support/errors.h"
#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

using testing::message_of;

std::string fault(const std::function<void(UNetOptions&)>& change) {
  UNetOptions o;
  o.block_out_channels = {32, 64};
  o.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  o.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  change(o);
  return message_of([&] { validate(o); });
}

std::string fault_of_json(const char* json) {
  return message_of([&] { unet_options_from_json(Json::parse(json)); });
}

}  // namespace

TEST(UNetOptions, DefaultsAreDiffusers) {
  // diffusers 0.42.1: UNet2DModel().config without the keys that begin with _.
  const Json diffusers = Json::parse(R"({
    "sample_size": null, "in_channels": 3, "out_channels": 3, "center_input_sample": false,
    "time_embedding_type": "positional", "time_embedding_dim": null, "freq_shift": 0,
    "flip_sin_to_cos": true,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896], "layers_per_block": 2, "mid_block_scale_factor": 1,
    "downsample_padding": 1, "downsample_type": "conv", "upsample_type": "conv", "dropout": 0.0,
    "act_fn": "silu", "attention_head_dim": 8, "norm_num_groups": 32, "attn_norm_num_groups": null,
    "norm_eps": 1e-05, "resnet_time_scale_shift": "default", "add_attention": true,
    "class_embed_type": null, "num_class_embeds": null, "num_train_timesteps": null})");
  EXPECT_EQ(to_json(UNetOptions{}), diffusers);
}

TEST(UNetOptions, EveryKeySurvivesTheRoundTrip) {
  UNetOptions o;
  o.sample_size = Json::array({28, 32});
  o.attention_head_dim.reset();
  o.mid_block_type.reset();
  o.num_class_embeds = 11;
  const Json json = to_json(o);
  EXPECT_EQ(to_json(unet_options_from_json(json)), json);
  EXPECT_EQ(o.image_size(), std::make_pair(int64_t{28}, int64_t{32}));
}

TEST(UNetOptions, NullHeadDimIsOneHeadAndAMissingOneIsEight) {
  EXPECT_EQ(unet_options_from_json(Json::parse("{}")).attention_head_dim, 8);
  EXPECT_FALSE(
      unet_options_from_json(Json::parse(R"({"attention_head_dim": null})")).attention_head_dim);
}

TEST(UNetOptions, ReadsTheNamesFromBeforeDiffusers01) {
  const UNetOptions o = unet_options_from_json(Json::parse(R"({
    "_class_name": "UNet2DModel", "_diffusers_version": "0.0.4", "image_size": 32,
    "num_res_blocks": 1, "block_channels": [32, 64], "num_head_channels": null,
    "down_blocks": ["UNetResDownBlock2D", "UNetResAttnDownBlock2D"],
    "up_blocks": ["UNetResAttnUpBlock2D", "UNetResUpBlock2D"], "downscale_freq_shift": 1,
    "resnet_num_groups": 16, "resnet_act_fn": "mish", "resnet_eps": 1e-6})"));
  EXPECT_EQ(o.image_size(), std::make_pair(int64_t{32}, int64_t{32}));
  EXPECT_EQ(o.layers_per_block, 1);
  EXPECT_EQ(o.down_block_types, (std::vector<std::string>{"DownBlock2D", "AttnDownBlock2D"}));
  EXPECT_EQ(o.up_block_types, (std::vector<std::string>{"AttnUpBlock2D", "UpBlock2D"}));
  EXPECT_FALSE(o.attention_head_dim);
  EXPECT_EQ(o.freq_shift, 1);
  EXPECT_EQ(o.norm_num_groups, 16);
  EXPECT_EQ(o.act_fn, "mish");
  EXPECT_EQ(o.norm_eps, 1e-6);
}

TEST(UNetOptions, TakesTheConfigOfAnEmaFolder) {
  EXPECT_EQ(fault_of_json(R"({"decay": 0.9999, "min_decay": 0.0, "optimization_step": 10,
    "update_after_step": 0, "use_ema_warmup": false, "inv_gamma": 1.0, "power": 0.67})"),
            "");
}

TEST(UNetOptions, RefusesAForeignClassAndUnknownOrDoubleKeys) {
  EXPECT_EQ(fault_of_json(R"({"_class_name": "UNet2DConditionModel"})"),
            "[unet] _class_name \"UNet2DConditionModel\": not a network that opens here; known: "
            "UNet2DModel");
  EXPECT_NE(fault_of_json(R"({"layer_per_block": 2})")
                .find("unknown config key 'layer_per_block'; did you mean layers_per_block?"),
            std::string::npos);
  EXPECT_EQ(fault_of_json(R"({"num_res_blocks": 2, "layers_per_block": 2})"),
            "[unet] num_res_blocks and layers_per_block are the same key: expected one of them");
  EXPECT_EQ(fault_of_json("[]"), "[config] top level: expected an object, got []");
}

TEST(UNetOptions, NamesTheKeyAndTheValueOfEveryFault) {
  using O = UNetOptions;
  const auto begins = [](const std::string& text, const char* start) {
    EXPECT_EQ(text.compare(0, std::strlen(start), start), 0) << text << "\n  instead of " << start;
  };
  EXPECT_EQ(fault([](O&) {}), "");
  begins(fault([](O& o) { o.down_block_types = {"DownBlock2D"}; }),
         "[unet] down_block_types has 1 entries, block_out_channels 2");
  begins(fault([](O& o) { o.up_block_types.push_back("UpBlock2D"); }),
         "[unet] up_block_types has 3 entries, block_out_channels 2");
  begins(fault([](O& o) {
           o.block_out_channels.clear();
           o.down_block_types.clear();
           o.up_block_types.clear();
         }),
         "[unet] block_out_channels: expected at least one block");
  begins(
      fault([](O& o) { o.down_block_types[0] = "DownBlok2D"; }),
      "unknown down_block_types[0] 'DownBlok2D'; did you mean DownBlock2D? known: DownBlock2D, ");
  begins(fault([](O& o) { o.up_block_types[1] = "CrossAttnUpBlock2D"; }),
         "unknown up_block_types[1] 'CrossAttnUpBlock2D'");
  begins(fault([](O& o) { o.mid_block_type = "UNetMidBlock"; }), "unknown mid_block_type");
  begins(fault([](O& o) { o.act_fn = "silo"; }),
         "unknown act_fn 'silo'; did you mean silu? known: silu, swish, mish, gelu, relu");
  begins(fault([](O& o) { o.time_embedding_type = "sin"; }), "unknown time_embedding_type 'sin'");
  begins(fault([](O& o) { o.resnet_time_scale_shift = "spatial"; }),
         "unknown resnet_time_scale_shift 'spatial'");
  begins(fault([](O& o) { o.downsample_type = "pool"; }), "unknown downsample_type 'pool'");
  begins(fault([](O& o) { o.upsample_type = "pool"; }), "unknown upsample_type 'pool'");
  begins(fault([](O& o) { o.class_embed_type = "text"; }), "unknown class_embed_type 'text'");
  begins(fault([](O& o) { o.in_channels = 0; }), "[config] in_channels: 0 is outside 1..");
  begins(fault([](O& o) { o.out_channels = -1; }), "[config] out_channels: -1 is outside 1..");
  begins(fault([](O& o) { o.layers_per_block = 0; }),
         "[config] layers_per_block: 0 is outside 1..1000");
  begins(fault([](O& o) { o.block_out_channels[1] = 0; }),
         "[config] block_out_channels[1]: 0 is outside 1..");
  begins(fault([](O& o) { o.norm_num_groups = 0; }), "[config] norm_num_groups: 0 is below");
  begins(fault([](O& o) { o.attention_head_dim = 0; }), "[config] attention_head_dim: 0 is below");
  begins(fault([](O& o) { o.num_class_embeds = 0; }), "[config] num_class_embeds: 0 is below");
  begins(fault([](O& o) { o.dropout = 1.5; }), "[config] dropout: 1.5 is outside 0..1");
  begins(fault([](O& o) { o.norm_eps = std::nan(""); }), "[config] norm_eps: ");
  begins(fault([](O& o) { o.mid_block_scale_factor = 0; }), "[unet] mid_block_scale_factor 0");
  begins(fault([](O& o) { o.block_out_channels[1] = 60; }),
         "[unet] block_out_channels: AttnUpBlock2D 0 has 60 channels, which norm_num_groups = 32");
  begins(fault([](O& o) { o.attention_head_dim = 65; }),
         "[unet] attention_head_dim 65: AttnUpBlock2D 0 has only 64 channels");
  begins(
      fault([](O& o) { o.attn_norm_num_groups = 5; }),
      "[unet] block_out_channels: the mid block has 64 channels, which attn_norm_num_groups = 5");
  begins(fault([](O& o) { o.norm_num_groups.reset(); }), "[unet] norm_num_groups null: ");
  begins(fault([](O& o) { o.freq_shift = 16; }), "[unet] freq_shift 16");
  begins(fault([](O& o) { o.time_embedding_type = "learned"; }), "[unet] num_train_timesteps null");
  begins(fault([](O& o) { o.downsample_padding = 2; }), "[unet] downsample_padding 2");
  begins(fault([](O& o) { o.sample_size = "32"; }), "[unet] sample_size \"32\"");
  begins(fault([](O& o) { o.sample_size = Json::array({28, 0}); }), "[unet] sample_size [28,0]");
}

TEST(UNetOptions, SkipBlocksWantAnRgbImageAndOneAnother) {
  const auto skip = [](const std::function<void(UNetOptions&)>& change) {
    return fault([&](UNetOptions& o) {
      o.block_out_channels = {32, 64, 64};
      o.down_block_types = {"SkipDownBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D"};
      o.up_block_types = {"AttnSkipUpBlock2D", "SkipUpBlock2D", "SkipUpBlock2D"};
      o.norm_num_groups.reset();
      change(o);
    });
  };
  EXPECT_EQ(skip([](UNetOptions&) {}), "");
  EXPECT_EQ(skip([](UNetOptions& o) { o.in_channels = 1; }),
            "[unet] in_channels 1: SkipDownBlock2D needs 3");
  EXPECT_EQ(skip([](UNetOptions& o) { o.out_channels = 6; }),
            "[unet] out_channels 6: AttnSkipUpBlock2D needs 3");
  EXPECT_EQ(skip([](UNetOptions& o) { o.down_block_types[0] = "DownBlock2D"; }),
            "[unet] down_block_types: SkipDownBlock2D cannot follow DownBlock2D: skip blocks come "
            "first");
  EXPECT_EQ(skip([](UNetOptions& o) { o.up_block_types[2] = "UpBlock2D"; }),
            "[unet] up_block_types: UpBlock2D cannot follow SkipUpBlock2D: skip blocks come last");
  EXPECT_EQ(
      skip([](UNetOptions& o) { o.block_out_channels[2] = 48; }),
      "[unet] block_out_channels: AttnSkipUpBlock2D 0 has 112 channels, which its group count = "
      "32 does not divide");
}

TEST(UNetOptions, WhatIsValidCanBeBuilt) {
  // Every pair of block types at three widths: validate() and the constructor agree on which work.
  int built = 0, refused = 0;
  for (const std::string& down : down_block_types())
    for (const std::string& up : up_block_types())
      for (const int64_t width : {6, 12, 32}) {
        UNetOptions o;
        o.block_out_channels = {width, width};
        o.down_block_types = {down, down};
        o.up_block_types = {up, up};
        o.layers_per_block = 1;
        o.norm_num_groups = 4;
        o.attention_head_dim.reset();
        try {
          validate(o);
        } catch (const Error&) {
          ++refused;
          continue;
        }
        UNet net(o);
        EXPECT_TRUE(
            net->forward(at::ones({1, 3, 4, 4}), at::tensor(1)).isfinite().all().item<bool>());
        ++built;
      }
  EXPECT_EQ(built + refused, 75);
  EXPECT_GE(built, 25);
  EXPECT_GE(refused, 25);
}

}  // namespace tweedie

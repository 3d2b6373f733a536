#include "tweedie/nn/unet_options.h"

#include <set>

#include "tweedie/nn/block_types.h"

namespace tweedie {
namespace {

// What the keys were called before diffusers 0.1.
const std::vector<std::pair<std::string, std::string>> kAliases = {
    {"image_size", "sample_size"},
    {"num_res_blocks", "layers_per_block"},
    {"block_channels", "block_out_channels"},
    {"down_blocks", "down_block_types"},
    {"up_blocks", "up_block_types"},
    {"downscale_freq_shift", "freq_shift"},
    {"resnet_num_groups", "norm_num_groups"},
    {"resnet_act_fn", "act_fn"},
    {"resnet_eps", "norm_eps"},
    {"num_head_channels", "attention_head_dim"}};

// What EMAModel.save_pretrained writes beside the network's own keys.
const std::set<std::string> kEmaKeys = {
    "decay",     "min_decay", "optimization_step", "update_after_step", "use_ema_warmup",
    "inv_gamma", "power"};

// UNetResDownBlock2D is DownBlock2D.
void strip_prefix(Json& object, const char* key) {
  const auto types = object.find(key);
  if (types == object.end() || !types->is_array()) return;
  for (Json& type : *types)
    if (type.is_string() && type.get_ref<const std::string&>().starts_with("UNetRes"))
      type = type.get<std::string>().substr(7);
}

bool is_side(const Json& side) { return side.is_number_integer() && side.get<int64_t>() >= 1; }

void check_sample_size(const Json& size) {
  if (size.is_null() || is_side(size)) return;
  if (size.is_array() && size.size() == 2 && is_side(size[0]) && is_side(size[1])) return;
  fail("[unet] sample_size {}: expected null, a whole number of 1 or more, or [height, width]",
       options_detail::excerpt(size));
}

void check_groups(const std::string& where, int64_t channels, int64_t groups, const char* key) {
  if (groups < 1)
    fail("[unet] block_out_channels: {} has {} channels, too few for a norm (at least 4)", where,
         channels);
  if (channels % groups != 0)
    fail("[unet] block_out_channels: {} has {} channels, which {} = {} does not divide", where,
         channels, key, groups);
}

void check_lengths(const UNetOptions& o) {
  const size_t blocks = o.block_out_channels.size();
  if (blocks == 0) fail("[unet] block_out_channels: expected at least one block, got []");
  if (blocks > 30) fail("[unet] block_out_channels: {} blocks are more than 30", blocks);
  if (o.down_block_types.size() != blocks)
    fail("[unet] down_block_types has {} entries, block_out_channels {}: expected as many",
         o.down_block_types.size(), blocks);
  if (o.up_block_types.size() != blocks)
    fail("[unet] up_block_types has {} entries, block_out_channels {}: expected as many",
         o.up_block_types.size(), blocks);
}

// The image beside the features: from the first block on the way down, to the last on the way up.
void check_skips(const UNetOptions& o) {
  const size_t last = o.block_out_channels.size() - 1;
  bool plain = false;
  for (size_t i = 0; i < last; ++i) {
    const BlockType& type = find_block(down_blocks(), o.down_block_types[i]);
    if (type.skip && o.in_channels != kSkipImageChannels)
      fail("[unet] in_channels {}: {} needs {}", o.in_channels, type.name, kSkipImageChannels);
    if (type.skip && plain)
      fail("[unet] down_block_types: {} cannot follow {}: skip blocks come first", type.name,
           o.down_block_types[i - 1]);
    plain = plain || !type.skip;
  }
  for (size_t i = 0; i < last; ++i) {
    const BlockType& type = find_block(up_blocks(), o.up_block_types[i]);
    const BlockType& next = find_block(up_blocks(), o.up_block_types[i + 1]);
    if (type.skip && o.out_channels != kSkipImageChannels)
      fail("[unet] out_channels {}: {} needs {}", o.out_channels, type.name, kSkipImageChannels);
    if (type.skip && !next.skip)
      fail("[unet] up_block_types: {} cannot follow {}: skip blocks come last", next.name,
           type.name);
  }
}

void check_block_groups(const UNetOptions& o, bool down, size_t level) {
  const auto& names = down ? o.down_block_types : o.up_block_types;
  const BlockType& type = find_block(down ? down_blocks() : up_blocks(), names[level]);
  const std::string where = formatted("{} {}", type.name, level);
  if (!type.skip && !o.norm_num_groups)
    fail("[unet] norm_num_groups null: {} needs a number; only skip blocks choose by themselves",
         type.name);
  const int64_t out = down ? o.block_out_channels[level] : o.block_out_channels.rbegin()[level];
  const auto check = [&](int64_t channels) {
    const int64_t groups = type.skip ? default_groups(channels) : *o.norm_num_groups;
    check_groups(where, channels, groups, type.skip ? "min(channels/4, 32)" : "norm_num_groups");
  };
  check(out);
  if (down && level > 0) check(o.block_out_channels[level - 1]);
  for (int64_t j = 0; !down && j <= o.layers_per_block; ++j) {
    const auto [below, skip] = up_inputs(o, level, j);
    if (type.skip && type.attention)
      check_groups(where, below + skip, attn_skip_up_groups(below, skip), "its group count");
    else
      check(below + skip);
  }
  if (type.attention && type.skip)
    check_groups(where, out, kSkipAttentionGroups, "its group count");
  if (type.attention && head_dim(o, out) > out)
    fail("[unet] attention_head_dim {}: {} has only {} channels", head_dim(o, out), where, out);
}

void check_middle_and_end(const UNetOptions& o) {
  const int64_t first = o.block_out_channels.front(), last = o.block_out_channels.back();
  check_groups("conv_norm_out", first, o.norm_num_groups.value_or(default_groups(first)),
               "norm_num_groups");
  if (!o.mid_block_type) return;
  check_groups("the mid block", last, o.norm_num_groups.value_or(default_groups(last)),
               "norm_num_groups");
  if (!(std::abs(o.mid_block_scale_factor) > 0) || std::isinf(o.mid_block_scale_factor))
    fail("[unet] mid_block_scale_factor {}: expected a finite number other than 0",
         o.mid_block_scale_factor);
  if (!o.add_attention) return;
  if (o.attn_norm_num_groups)
    check_groups("the mid block", last, *o.attn_norm_num_groups, "attn_norm_num_groups");
  if (head_dim(o, last) > last)
    fail("[unet] attention_head_dim {}: the mid block has only {} channels", head_dim(o, last),
         last);
}

void check_embeddings(const UNetOptions& o) {
  const int64_t half = o.block_out_channels[0] / 2;
  if (o.time_embedding_type == "positional" && half > 0 && half == o.freq_shift)
    fail("[unet] freq_shift {}: equals block_out_channels[0] / 2, which divides by zero",
         o.freq_shift);
  if (o.time_embedding_type == "learned" && !o.num_train_timesteps)
    fail("[unet] num_train_timesteps null: time_embedding_type learned needs a number");
}

void check_padding(const UNetOptions& o) {
  if (o.downsample_padding <= 1) return;
  for (size_t i = 0; i + 1 < o.down_block_types.size(); ++i) {
    const BlockType& type = find_block(down_blocks(), o.down_block_types[i]);
    if (!type.resnet && !(type.attention && o.downsample_type == "resnet"))
      fail("[unet] downsample_padding {}: {} does not halve with it; known: 0, 1",
           o.downsample_padding, type.name);
  }
}

}  // namespace

int64_t UNetOptions::temb_channels() const {
  const int64_t given = time_embedding_dim.value_or(0);
  return given ? given : 4 * block_out_channels[0];
}

void validate(const UNetOptions& o) {
  UNetOptions checked;
  from_json(to_json(o), checked);  // the rules of the single fields
  check_sample_size(o.sample_size);
  check_lengths(o);
  check_skips(o);
  for (size_t i = 0; i < o.block_out_channels.size(); ++i) {
    check_block_groups(o, /*down=*/true, i);
    check_block_groups(o, /*down=*/false, i);
  }
  check_middle_and_end(o);
  check_embeddings(o);
  check_padding(o);
}

// Floats that one image leaves behind for the backward pass. A resnet keeps its input, two
// normalised and two activated tensors and the first convolution's output, on the way up of twice
// the channels; an attention about ten tensors (its L x L weights are computed twice, not kept).
double activation_floats(const UNetOptions& model, int64_t height, int64_t width) {
  const int64_t levels = static_cast<int64_t>(model.block_out_channels.size());
  const auto is_attention = [](const std::string& type) {
    return type.find("Attn") != std::string::npos;
  };
  const auto attention = [](double channels, double places) { return 10 * channels * places; };
  double floats = 0;
  for (int64_t i = 0; i < levels; ++i) {
    const double places = double((height >> i) * (width >> i));
    const double c = double(model.block_out_channels[i]);
    const double down = double(model.layers_per_block), up = down + 1;
    floats += down * 7 * c * places + up * 10 * c * places + 2 * c * places;
    if (is_attention(model.down_block_types.at(i))) floats += down * attention(c, places);
    if (is_attention(model.up_block_types.at(levels - 1 - i))) floats += up * attention(c, places);
    if (i + 1 == levels && model.mid_block_type)
      floats += 2 * 7 * c * places + (model.add_attention ? attention(c, places) : 0);
  }
  return floats;
}

UNetOptions unet_options_from_json(const Json& json) {
  if (!json.is_object()) options_detail::wrong_type("", "an object", json);
  const auto name = json.find("_class_name");
  if (name != json.end() && *name != "UNet2DModel")
    fail("[unet] _class_name {}: not a network that opens here; known: UNet2DModel",
         options_detail::excerpt(*name));
  Json known = Json::object();
  for (const auto& [key, value] : json.items()) {
    if (key.starts_with("_") || kEmaKeys.count(key)) continue;
    std::string today = key;
    for (const auto& [old, modern] : kAliases)
      if (key == old) today = modern;
    if (today != key && json.contains(today))
      fail("[unet] {} and {} are the same key: expected one of them", key, today);
    known[today] = value;
  }
  strip_prefix(known, "down_block_types");
  strip_prefix(known, "up_block_types");
  UNetOptions options;
  from_json(known, options);
  validate(options);
  return options;
}

}  // namespace tweedie

#include "tweedie/nn/blocks.h"

#include <ATen/ATen.h>

#include <numbers>

#include "tweedie/nn/fir.h"

namespace tweedie {
namespace {

template <class Holder>
void register_list(torch::nn::Module& owner, const char* name, const std::vector<Holder>& items) {
  torch::nn::ModuleList list;
  for (const Holder& item : items) list->push_back(item);
  owner.register_module(name, list);
}

ResnetOptions resnet_options(const UNetOptions& o, int64_t in, int64_t out) {
  return {.in_channels = in,
          .out_channels = out,
          .temb_channels = o.temb_channels(),
          .groups_in = o.norm_num_groups.value_or(default_groups(in)),
          .groups_out = o.norm_num_groups.value_or(default_groups(out)),
          .eps = o.norm_eps,
          .act_fn = o.act_fn,
          .scale_shift = o.resnet_time_scale_shift == "scale_shift",
          .dropout = o.dropout};
}

AttentionOptions attention_options(const UNetOptions& o, int64_t channels) {
  return {.channels = channels,
          .head_dim = head_dim(o, channels),
          .groups = o.norm_num_groups.value_or(default_groups(channels)),
          .eps = o.norm_eps};
}

// The skip blocks choose their own groups and keep the variance of a sum of two.
ResnetOptions skip_resnet_options(const UNetOptions& o, int64_t in, int64_t out) {
  ResnetOptions options = resnet_options(o, in, out);
  options.groups_in = default_groups(in);
  options.groups_out = default_groups(out);
  options.output_scale = std::numbers::sqrt2;
  return options;
}

AttentionOptions skip_attention_options(const UNetOptions& o, int64_t channels) {
  return {.channels = channels,
          .head_dim = head_dim(o, channels),
          .groups = kSkipAttentionGroups,
          .eps = o.norm_eps,
          .output_scale = std::numbers::sqrt2};
}

ResnetOptions resampling(ResnetOptions options, Resample how) {
  options.resample = how;
  options.always_shortcut = how == Resample::kFirDown || how == Resample::kFirUp;
  return options;
}

class DownBlock : public BlockImpl {
 public:
  DownBlock(const UNetOptions& o, const BlockType& type, int64_t level) {
    const int64_t in = o.block_out_channels[std::max<int64_t>(level - 1, 0)];
    const int64_t out = o.block_out_channels[level];
    for (int64_t j = 0; j < o.layers_per_block; ++j) {
      resnets_.emplace_back(resnet_options(o, j == 0 ? in : out, out));
      if (type.attention) attentions_.emplace_back(attention_options(o, out));
    }
    register_list(*this, "resnets", resnets_);
    if (type.attention) register_list(*this, "attentions", attentions_);
    if (level + 1 == static_cast<int64_t>(o.block_out_channels.size())) return;
    if (type.resnet || (type.attention && o.downsample_type == "resnet")) {
      resnet_down_ = Resnet(resampling(resnet_options(o, out, out), Resample::kDown));
      register_list<Resnet>(*this, "downsamplers", {resnet_down_});
    } else {
      conv_down_ = Downsample(out, o.downsample_padding);
      register_list<Downsample>(*this, "downsamplers", {conv_down_});
    }
  }

  Tensor forward(Tensor h, const Tensor& time, Skips& skips) const override {
    for (size_t j = 0; j < resnets_.size(); ++j) {
      h = resnets_[j]->forward(h, time);
      if (!attentions_.empty()) h = attentions_[j]->forward(h);
      skips.features.push_back(h);
    }
    if (!conv_down_ && !resnet_down_) return h;
    h = conv_down_ ? conv_down_->forward(h) : resnet_down_->forward(h, time);
    skips.features.push_back(h);
    return h;
  }

 private:
  std::vector<Resnet> resnets_;
  std::vector<Attention> attentions_;
  Downsample conv_down_{nullptr};
  Resnet resnet_down_{nullptr};
};

class MidBlock : public BlockImpl {
 public:
  explicit MidBlock(const UNetOptions& o) {
    const int64_t channels = o.block_out_channels.back();
    ResnetOptions resnet = resnet_options(o, channels, channels);
    resnet.output_scale = o.mid_block_scale_factor;
    resnets_ = {Resnet(resnet), Resnet(resnet)};
    register_list(*this, "resnets", resnets_);
    if (!o.add_attention) return;
    AttentionOptions attention = attention_options(o, channels);
    attention.output_scale = o.mid_block_scale_factor;
    // With scale_shift diffusers leaves the normalisation out unless its groups are given.
    if (resnet.scale_shift) attention.groups.reset();
    if (o.attn_norm_num_groups) attention.groups = o.attn_norm_num_groups;
    attention_ = Attention(attention);
    register_list<Attention>(*this, "attentions", {attention_});
  }

  Tensor forward(Tensor h, const Tensor& time, Skips&) const override {
    h = resnets_[0]->forward(h, time);
    if (attention_) h = attention_->forward(h);
    return resnets_[1]->forward(h, time);
  }

 private:
  std::vector<Resnet> resnets_;
  Attention attention_{nullptr};
};

Tensor take_last(Skips& skips) {
  const Tensor skip = std::move(skips.features.back());
  skips.features.pop_back();
  return skip;
}

class UpBlock : public BlockImpl {
 public:
  UpBlock(const UNetOptions& o, const BlockType& type, int64_t level) {
    const int64_t out = o.block_out_channels.rbegin()[level];
    for (int64_t j = 0; j <= o.layers_per_block; ++j) {
      const auto [below, skip] = up_inputs(o, level, j);
      resnets_.emplace_back(resnet_options(o, below + skip, out));
      if (type.attention) attentions_.emplace_back(attention_options(o, out));
    }
    register_list(*this, "resnets", resnets_);
    if (type.attention) register_list(*this, "attentions", attentions_);
    if (level + 1 == static_cast<int64_t>(o.block_out_channels.size())) return;
    if (type.resnet || (type.attention && o.upsample_type == "resnet")) {
      resnet_up_ = Resnet(resampling(resnet_options(o, out, out), Resample::kUp));
      register_list<Resnet>(*this, "upsamplers", {resnet_up_});
    } else {
      conv_up_ = Upsample(out);
      register_list<Upsample>(*this, "upsamplers", {conv_up_});
    }
  }

  Tensor forward(Tensor h, const Tensor& time, Skips& skips) const override {
    for (size_t j = 0; j < resnets_.size(); ++j) {
      h = resnets_[j]->forward(std::move(h), time, take_last(skips));
      if (!attentions_.empty()) h = attentions_[j]->forward(h);
    }
    if (conv_up_) return conv_up_->forward(h);
    return resnet_up_ ? resnet_up_->forward(h, time) : h;
  }

 private:
  std::vector<Resnet> resnets_;
  std::vector<Attention> attentions_;
  Upsample conv_up_{nullptr};
  Resnet resnet_up_{nullptr};
};

// NCSN++ with an input skip: at every halving the image, halved too, joins the features.
class SkipDownBlock : public BlockImpl {
 public:
  SkipDownBlock(const UNetOptions& o, const BlockType& type, int64_t level) {
    const int64_t in = o.block_out_channels[std::max<int64_t>(level - 1, 0)];
    const int64_t out = o.block_out_channels[level];
    for (int64_t j = 0; j < o.layers_per_block; ++j) {
      resnets_.emplace_back(skip_resnet_options(o, j == 0 ? in : out, out));
      if (type.attention) attentions_.emplace_back(skip_attention_options(o, out));
    }
    register_list(*this, "resnets", resnets_);
    if (type.attention) register_list(*this, "attentions", attentions_);
    if (level + 1 == static_cast<int64_t>(o.block_out_channels.size())) return;
    resnet_down_ = register_module(
        "resnet_down", Resnet(resampling(skip_resnet_options(o, out, out), Resample::kFirDown)));
    skip_conv_ = register_module("skip_conv", Conv(kSkipImageChannels, out, 1, 1, 0));
  }

  Tensor forward(Tensor h, const Tensor& time, Skips& skips) const override {
    for (size_t j = 0; j < resnets_.size(); ++j) {
      h = resnets_[j]->forward(h, time);
      if (!attentions_.empty()) h = attentions_[j]->forward(h);
      skips.features.push_back(h);
    }
    if (!resnet_down_) return h;
    skips.image = fir_down(skips.image);
    h = skip_conv_->forward(skips.image) + resnet_down_->forward(h, time);
    skips.features.push_back(h);
    return h;
  }

 private:
  std::vector<Resnet> resnets_;
  std::vector<Attention> attentions_;
  Resnet resnet_down_{nullptr};
  Conv skip_conv_{nullptr};
};

// NCSN++ with an output skip: at every doubling the features add to an image that is doubled too.
class SkipUpBlock : public BlockImpl {
 public:
  SkipUpBlock(const UNetOptions& o, const BlockType& type, int64_t level)
      : act_(find_activation("silu")) {
    const int64_t out = o.block_out_channels.rbegin()[level];
    for (int64_t j = 0; j <= o.layers_per_block; ++j) {
      const auto [below, skip] = up_inputs(o, level, j);
      ResnetOptions resnet = skip_resnet_options(o, below + skip, out);
      if (type.attention) resnet.groups_in = attn_skip_up_groups(below, skip);
      resnets_.emplace_back(resnet);
    }
    register_list(*this, "resnets", resnets_);
    if (type.attention) {
      attention_ = Attention(skip_attention_options(o, out));
      register_list<Attention>(*this, "attentions", {attention_});
    }
    if (level + 1 == static_cast<int64_t>(o.block_out_channels.size())) return;
    resnet_up_ = register_module(
        "resnet_up", Resnet(resampling(skip_resnet_options(o, out, out), Resample::kFirUp)));
    skip_conv_ = register_module("skip_conv", Conv(out, kSkipImageChannels, 3, 1, 1));
    skip_norm_ = register_module("skip_norm", GroupNorm(default_groups(out), out, o.norm_eps));
  }

  Tensor forward(Tensor h, const Tensor& time, Skips& skips) const override {
    for (const Resnet& resnet : resnets_) h = resnet->forward(std::move(h), time, take_last(skips));
    if (attention_) h = attention_->forward(h);
    if (skips.image.defined()) skips.image = fir_up(skips.image);
    if (!resnet_up_) return h;
    const Tensor image = skip_conv_->forward(act_(skip_norm_->forward(h)));
    skips.image = skips.image.defined() ? skips.image + image : image;
    return resnet_up_->forward(h, time);
  }

 private:
  Activation act_;
  std::vector<Resnet> resnets_;
  Attention attention_{nullptr};
  Resnet resnet_up_{nullptr};
  Conv skip_conv_{nullptr};
  GroupNorm skip_norm_{nullptr};
};

}  // namespace

Block make_down_block(const UNetOptions& options, int64_t level) {
  const BlockType& type = find_block(down_blocks(), options.down_block_types[level]);
  if (type.skip) return std::make_shared<SkipDownBlock>(options, type, level);
  return std::make_shared<DownBlock>(options, type, level);
}

Block make_mid_block(const UNetOptions& options) { return std::make_shared<MidBlock>(options); }

Block make_up_block(const UNetOptions& options, int64_t level) {
  const BlockType& type = find_block(up_blocks(), options.up_block_types[level]);
  if (type.skip) return std::make_shared<SkipUpBlock>(options, type, level);
  return std::make_shared<UpBlock>(options, type, level);
}

}  // namespace tweedie

#include "tweedie/nn/unet.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

// Channels last where the kernels want it, said by the strides: of one channel they might say both,
// and LibTorch would take the other.
Tensor in_kernels_order(const Tensor& x) {
  if (!runs_on_kernels(x)) return x;
  return at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::ChannelsLast)).copy_(x);
}

torch::nn::ModuleList as_list(const std::vector<Block>& blocks) {
  torch::nn::ModuleList list;
  for (const Block& block : blocks) list->push_back(block);
  return list;
}

}  // namespace

UNetImpl::UNetImpl(UNetOptions options, uint64_t seed) : options_(std::move(options)) {
  validate(options_);
  try {
    build();
  } catch (const c10::Error& e) {
    fail_system("[unet] the network cannot be built: {}", e.what_without_backtrace());
  }
  initialise(*this, seed);
}

void UNetImpl::build() {
  const UNetOptions& o = options_;
  act_ = find_activation(o.act_fn);
  const int64_t width = o.block_out_channels[0], temb = o.temb_channels();
  const int64_t time_width = o.time_embedding_type == "fourier" ? 2 * width : width;

  conv_in = register_module("conv_in", Conv(o.in_channels, width, 3, 1, 1));
  if (o.time_embedding_type == "fourier") fourier_ = register_module("time_proj", Fourier(width));
  if (o.time_embedding_type == "learned")
    learned_ = register_module("time_proj", Embedding(*o.num_train_timesteps, width));
  time_embedding = register_module("time_embedding", EmbeddingMlp(time_width, temb));
  if (o.class_embed_type == "timestep") {
    class_mlp_ = register_module("class_embedding", EmbeddingMlp(time_width, temb));
  } else if (!o.class_embed_type && o.num_class_embeds) {
    class_table_ = register_module("class_embedding", Embedding(*o.num_class_embeds, temb));
  }

  for (size_t i = 0; i < o.block_out_channels.size(); ++i) {
    down_blocks_.push_back(make_down_block(o, i));
    up_blocks_.push_back(make_up_block(o, i));
  }
  register_module("down_blocks", as_list(down_blocks_));
  if (o.mid_block_type) mid_block_ = register_module("mid_block", make_mid_block(o));
  register_module("up_blocks", as_list(up_blocks_));
  const int64_t groups = o.norm_num_groups.value_or(default_groups(width));
  conv_norm_out = register_module("conv_norm_out", GroupNorm(groups, width, o.norm_eps));
  conv_out = register_module("conv_out", Conv(width, o.out_channels, 3, 1, 1));
}

std::string UNetImpl::describe() const {
  return formatted("UNet2DModel, channels {}", fmt::join(options_.block_out_channels, "-"));
}

void UNetImpl::set_dropout_generator(at::Generator generator) {
  for (const auto& module : modules(/*include_self=*/false))
    if (auto* resnet = dynamic_cast<ResnetImpl*>(module.get()))
      resnet->set_dropout_generator(generator);
}

Tensor UNetImpl::forward(const Tensor& input, const Tensor& t, const Tensor& class_labels) {
  RECORD_USER_SCOPE("tweedie::network");
  check_input(input);
  const Tensor x = in_kernels_order(options_.center_input_sample ? 2 * input - 1 : input);
  const Tensor times = spread("[unet] t", t, x);
  if (learned_) check_range("[unet] t", t, *options_.num_train_timesteps);

  Tensor emb = time_embedding->forward(project_time(times));
  if (class_labels.defined() || options_.conditional()) emb = emb + embed_class(class_labels, x);
  const Tensor time = act_(emb);

  Skips skips{.features = {}, .image = x};
  Tensor h = conv_in->forward(x);
  skips.features.push_back(h);
  for (const Block& block : down_blocks_) h = block->forward(std::move(h), time, skips);
  if (mid_block_) h = mid_block_->forward(std::move(h), time, skips);
  skips.image.reset();
  for (const Block& block : up_blocks_) h = block->forward(std::move(h), time, skips);

  GroupNormArgs norm = conv_norm_out->args();
  norm.silu = true;
  h = conv_out->forward(h, {.norm = norm}).contiguous();
  if (skips.image.defined()) h = h + skips.image;
  // The network of a variance-exploding process gives the score, which goes as 1/sigma.
  return fourier_ ? h / times.to(h.scalar_type()).view({-1, 1, 1, 1}) : h;
}

void UNetImpl::check_input(const Tensor& x) const {
  if (x.dim() != 4 || x.size(0) == 0 || x.size(1) != options_.in_channels)
    fail("[unet] input has shape [{}], expected [N,{},H,W]", fmt::join(x.sizes(), ","),
         options_.in_channels);
  const int64_t multiple = options_.side_multiple();
  if (x.size(2) < 1 || x.size(3) < 1 || x.size(2) % multiple || x.size(3) % multiple)
    fail("[unet] {}x{} does not work with {} halvings: both sides must be multiples of {}",
         x.size(2), x.size(3), options_.block_out_channels.size() - 1, multiple);
  if (!x.is_floating_point())
    fail("[unet] input is {}, expected floating point", c10::toString(x.scalar_type()));
}

Tensor UNetImpl::project_time(const Tensor& t) const {
  const auto type = conv_in->weight.scalar_type();
  if (fourier_) return fourier_->forward(t.to(at::kFloat)).to(type);
  if (learned_) return learned_->forward(t.to(at::kLong));
  return sinusoid(t, options_.block_out_channels[0], options_.flip_sin_to_cos, options_.freq_shift)
      .to(type);
}

Tensor UNetImpl::embed_class(const Tensor& labels, const Tensor& x) const {
  if (!options_.conditional())
    fail("[unet] class labels given to an unconditional network (num_class_embeds is null)");
  if (!labels.defined())
    fail("[unet] class labels missing: the network is class-conditional ({})",
         class_table_ ? formatted("classes 0..{}", *options_.num_class_embeds - 1)
                      : "class_embed_type " + *options_.class_embed_type);
  const int64_t n = x.size(0);
  if (class_table_) {
    check_range("[unet] class", labels, *options_.num_class_embeds);
    return class_table_->forward(spread("[unet] class labels", labels, x));
  }
  if (class_mlp_) {
    if (learned_) check_range("[unet] class", labels, *options_.num_train_timesteps);
    return class_mlp_->forward(project_time(spread("[unet] class labels", labels, x)));
  }
  if (labels.sizes() != at::IntArrayRef({n, options_.temb_channels()}))
    fail("[unet] class labels have shape [{}], expected [{},{}]", fmt::join(labels.sizes(), ","), n,
         options_.temb_channels());
  return labels.to(x.device(), conv_in->weight.scalar_type());
}

}  // namespace tweedie

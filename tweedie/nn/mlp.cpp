#include "tweedie/nn/mlp.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "tweedie/core/error.h"

namespace tweedie {

MlpBlockImpl::MlpBlockImpl(int64_t width) {
  linear_1 = register_module("linear_1", Linear(width, width));
  linear_2 = register_module("linear_2", Linear(width, width));
}

Tensor MlpBlockImpl::forward(const Tensor& h, const Tensor& time) const {
  return linear_2->forward(at::silu(linear_1->forward(h + time)), h);
}

MlpImpl::MlpImpl(MlpOptions options, uint64_t seed) : options_(std::move(options)) {
  validate(options_);
  const MlpOptions& o = options_;
  linear_in =
      register_module("linear_in", Linear(o.in_channels * (1 + 2 * o.frequencies), o.width));
  time_embedding = register_module("time_embedding", EmbeddingMlp(o.width, o.width));
  if (o.num_class_embeds)
    class_embedding = register_module("class_embedding", Embedding(*o.num_class_embeds, o.width));
  torch::nn::ModuleList blocks;
  for (int64_t i = 0; i < o.depth; ++i) {
    blocks_.emplace_back(o.width);
    blocks->push_back(blocks_.back());
  }
  register_module("blocks", blocks);
  linear_out = register_module("linear_out", Linear(o.width, o.out_channels));
  initialise(*this, seed);
}

Tensor MlpImpl::forward(const Tensor& x, const Tensor& t, const Tensor& class_labels) {
  RECORD_USER_SCOPE("tweedie::network");
  check_input(x, class_labels);
  const Tensor times = spread("[mlp] t", t, x);
  const auto type = linear_in->weight.scalar_type();
  Tensor time = time_embedding->forward(
      sinusoid(times, options_.width, /*flip_sin_to_cos=*/true, /*freq_shift=*/0).to(type));
  if (class_embedding)
    time = time + class_embedding->forward(spread("[mlp] class labels", class_labels, x));
  Tensor h = linear_in->forward(features(x.flatten(1)));
  for (const MlpBlock& block : blocks_) h = block->forward(h, time);
  return linear_out->forward(h).view({x.size(0), options_.out_channels, 1, 1});
}

// [N,D] and the sines and cosines of its multiples, [N,D (1 + 2 frequencies)].
Tensor MlpImpl::features(const Tensor& x) const {
  std::vector<Tensor> all = {x};
  for (int64_t k = 0; k < options_.frequencies; ++k) {
    const Tensor phase = static_cast<double>(int64_t{1} << k) * x;
    all.push_back(at::sin(phase));
    all.push_back(at::cos(phase));
  }
  return at::cat(all, 1);
}

std::string MlpImpl::describe() const {
  return formatted("TweedieMLP, {} layers of {}", options_.depth, options_.width);
}

// A block keeps its input, the input with the time, and what lies before and after the SiLU.
double MlpImpl::activation_floats(int64_t, int64_t) const {
  return 4.0 * static_cast<double>(options_.width * (options_.depth + 1));
}

void MlpImpl::check_input(const Tensor& x, const Tensor& class_labels) const {
  if (x.dim() != 4 || x.size(0) == 0 || x.size(1) != options_.in_channels || x.size(2) != 1 ||
      x.size(3) != 1)
    fail("[mlp] input has shape [{}], expected [N,{},1,1]", fmt::join(x.sizes(), ","),
         options_.in_channels);
  if (!x.is_floating_point())
    fail("[mlp] input is {}, expected floating point", c10::toString(x.scalar_type()));
  if (class_labels.defined() && !class_embedding)
    fail("[mlp] class labels given to an unconditional network (num_class_embeds is null)");
  if (!class_embedding) return;
  if (!class_labels.defined())
    fail("[mlp] class labels missing: the network is class-conditional (classes 0..{})",
         *options_.num_class_embeds - 1);
  check_range("[mlp] class", class_labels, *options_.num_class_embeds);
}

}  // namespace tweedie

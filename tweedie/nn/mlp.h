// A multilayer perceptron for points: what a U-Net is to images, for data of a few numbers each.
#pragma once
#include <vector>

#include "tweedie/nn/embedding.h"
#include "tweedie/nn/mlp_options.h"
#include "tweedie/nn/network.h"

namespace tweedie {

/// h + linear_2(silu(linear_1(h + time))).
class MlpBlockImpl : public torch::nn::Module {
 public:
  explicit MlpBlockImpl(int64_t width);
  /// Both [N,width].
  Tensor forward(const Tensor& h, const Tensor& time) const;

 private:
  Linear linear_1{nullptr}, linear_2{nullptr};
};
TORCH_MODULE(MlpBlock);

/// A point is an image of one pixel, its D numbers the channels: x [N,D,1,1], seen with the sines
/// and cosines of their multiples (Fourier features, Tancik et al. 2020, arXiv 2006.10739). The
/// time enters as a sinusoid, a class as a row of a table, both into every layer; what the layers
/// add up to is a path from input to output without a bend, so that the trivial answers are learnt
/// at once. Example: Network net = Mlp(options); Tensor eps = net->forward(x, t);
class MlpImpl : public NetworkImpl {
 public:
  /// Validates the options and draws the weights (initialise(net, seed) draws others).
  explicit MlpImpl(MlpOptions options, uint64_t seed = 0);

  /// As NetworkImpl says; H = W = 1. class_labels: int64 below num_class_embeds.
  Tensor forward(const Tensor& x, const Tensor& t, const Tensor& class_labels = {}) override;

  const MlpOptions& options() const override { return options_; }
  Json config() const override { return to_json(options_); }
  std::string describe() const override;
  int64_t side_multiple() const override { return 1; }
  int64_t temb_channels() const override { return options_.width; }
  double activation_floats(int64_t height, int64_t width) const override;
  void set_dropout_generator(at::Generator) override {}  // it has no dropout

 private:
  Tensor features(const Tensor& x) const;
  void check_input(const Tensor& x, const Tensor& class_labels) const;

  MlpOptions options_;
  Linear linear_in{nullptr}, linear_out{nullptr};
  EmbeddingMlp time_embedding{nullptr};
  Embedding class_embedding{nullptr};
  std::vector<MlpBlock> blocks_;
};
TORCH_MODULE(Mlp);

}  // namespace tweedie

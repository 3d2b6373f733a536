// The U-Net that predicts noise: DDPM (Ho et al. 2020) to NCSN++ (Song et al. 2021), weight for
// weight diffusers' UNet2DModel. It knows nothing of schedules: it is told x and t.
#pragma once
#include <vector>

#include "tweedie/nn/blocks.h"
#include "tweedie/nn/embedding.h"
#include "tweedie/nn/network.h"

namespace tweedie {

/// Example: UNet net(options); Tensor eps = net->forward(x, t);
///
/// Parameters have the names of diffusers' state dict (see nn/state.h). Several networks may run at
/// the same time in several threads; so may one, in eval mode without autograd.
class UNetImpl : public NetworkImpl {
 public:
  /// Validates the options and draws the weights (initialise(net, seed) draws others). Throws
  /// Error: user for the options, system if there is no memory.
  explicit UNetImpl(UNetOptions options, uint64_t seed = 0);

  /// x [N,in_channels,H,W] of the weights' type, or any under autocast; H and W are multiples of
  /// side_multiple(). t: a scalar, [1] or [N]; of any type, a fraction is kept (learned:
  /// whole numbers in range; fourier: sigma). class_labels: [N] (or one for all) int64 if
  /// num_class_embeds is set, numbers for "timestep", [N,temb_channels] for "identity"; undefined
  /// for an unconditional network. Indices on the CPU are checked against the range; indices that
  /// are on a GPU already are the caller's to check. Returns [N,out_channels,H,W]. Throws Error
  /// (user) for what does not fit, before it computes.
  Tensor forward(const Tensor& x, const Tensor& t, const Tensor& class_labels = {}) override;

  const UNetOptions& options() const override { return options_; }
  Json config() const override { return to_json(options_); }
  std::string describe() const override;
  int64_t side_multiple() const override { return options_.side_multiple(); }
  int64_t temb_channels() const override { return options_.temb_channels(); }
  double activation_floats(int64_t height, int64_t width) const override {
    return tweedie::activation_floats(options_, height, width);
  }
  void set_dropout_generator(at::Generator generator) override;

 private:
  void build();
  void check_input(const Tensor& x) const;
  Tensor project_time(const Tensor& t) const;
  Tensor embed_class(const Tensor& labels, const Tensor& x) const;

  UNetOptions options_;
  Activation act_;
  Conv conv_in{nullptr}, conv_out{nullptr};
  Fourier fourier_{nullptr};
  Embedding learned_{nullptr}, class_table_{nullptr};
  EmbeddingMlp time_embedding{nullptr}, class_mlp_{nullptr};
  std::vector<Block> down_blocks_, up_blocks_;
  Block mid_block_;
  GroupNorm conv_norm_out{nullptr};
};
TORCH_MODULE(UNet);

}  // namespace tweedie

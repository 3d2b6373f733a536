// What training, sampling and evaluation know of a network. It knows nothing of schedules: it is
// told x and t.
#pragma once
#include <ATen/core/Generator.h>
#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <string>

#include "tweedie/nn/network_options.h"

namespace tweedie {

using at::Tensor;

class NetworkImpl : public torch::nn::Module {
 public:
  /// x [N,in_channels,H,W] of the weights' type, or any under autocast. t: a scalar, [1] or [N], of
  /// any type. class_labels: [N] (or one for all) for a network with classes, else undefined.
  /// Returns [N,out_channels,H,W]. Throws Error (user) for what does not fit, before it computes.
  virtual Tensor forward(const Tensor& x, const Tensor& t, const Tensor& class_labels = {}) = 0;

  virtual const NetworkOptions& options() const = 0;
  /// The options with all keys, as they stand in config.json.
  virtual Json config() const = 0;
  /// The kind of network and its widths, a few words.
  virtual std::string describe() const = 0;
  /// H and W must be multiples of this.
  virtual int64_t side_multiple() const = 0;
  /// Width of the time embedding, and of a class that is given as a vector (identity).
  virtual int64_t temb_channels() const = 0;
  /// Floats that an example of this size leaves behind for the backward pass, estimated.
  virtual double activation_floats(int64_t height, int64_t width) const = 0;
  /// Where dropout draws from, on the network's device; needed in training mode if dropout > 0.
  virtual void set_dropout_generator(at::Generator generator) = 0;
};

/// A shared handle of a network of any kind: Network net = UNet(options).
class Network : public torch::nn::ModuleHolder<NetworkImpl> {
 public:
  Network(std::nullptr_t) : ModuleHolder(nullptr) {}
  template <class Impl>
  Network(const torch::nn::ModuleHolder<Impl>& net)
      : ModuleHolder(std::shared_ptr<NetworkImpl>(net.ptr())) {}
};

}  // namespace tweedie

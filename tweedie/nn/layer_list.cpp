#include "tweedie/nn/layer_list.h"

#include <ATen/ATen.h>

#include <string_view>
#include <unordered_map>

#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

// While it lives, lists what the layers tell at::RecordFunction on this thread.
class Listener {
 public:
  explicit Listener(const Network& net) {
    for (const auto& item : net->named_parameters()) names_[item.value().data_ptr()] = item.key();
    active = this;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(on_start).needsInputs(true));
  }
  ~Listener() {
    at::removeCallback(handle_);
    active = nullptr;
  }
  Listener(const Listener&) = delete;
  LayerList found;

 private:
  using Inputs = c10::ArrayRef<const c10::IValue>;

  static std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& fn) {
    const std::string_view name = fn.name();
    if (name == "tweedie::conv") active->add_conv(inputs_of(fn));
    if (name == "tweedie::attention") active->add_attention(inputs_of(fn));
    return nullptr;
  }

  // The layer that owns the parameter, without `suffix`.
  std::string owner(const Tensor& parameter, std::string_view suffix) const {
    const std::string& name = names_.at(parameter.data_ptr());
    return name.substr(0, name.size() - suffix.size());
  }

  // x, filter, stride, padding, whether x is upsampled before.
  void add_conv(Inputs in) {
    const Tensor &x = in[0].toTensor(), &weight = in[1].toTensor();
    const int64_t kernel = weight.size(2), stride = in[2].toInt(), padding = in[3].toInt();
    const int64_t scale = in[4].toBool() ? 2 : 1;
    const auto side = [&](int64_t n) { return (scale * n + 2 * padding - kernel) / stride + 1; };
    found.convolutions.push_back({owner(weight, ".weight"), weight.size(1), weight.size(0), kernel,
                                  stride, side(x.size(2)), side(x.size(3))});
  }

  // x, to_q's weight, heads.
  void add_attention(Inputs in) {
    const Tensor &x = in[0].toTensor(), &weight = in[1].toTensor();
    const int64_t heads = in[2].toInt();
    found.attentions.push_back(
        {owner(weight, ".to_q.weight"), x.size(2) * x.size(3), heads, weight.size(0) / heads});
  }

  static thread_local Listener* active;
  std::unordered_map<const void*, std::string> names_;
  at::CallbackHandle handle_;
};
thread_local Listener* Listener::active = nullptr;

// A network in eval mode without a graph, until the end of the scope.
class Evaluating {
 public:
  explicit Evaluating(Network net) : net_(std::move(net)), was_training_(net_->is_training()) {
    net_->eval();
  }
  ~Evaluating() { net_->train(was_training_); }
  Evaluating(const Evaluating&) = delete;

 private:
  Network net_;
  bool was_training_;
  at::NoGradGuard no_grad_;
};

}  // namespace

LayerList layers_of(Network net, int64_t height, int64_t width) {
  const NetworkOptions& o = net->options();
  const auto options = net->parameters().front().options().requires_grad(false);
  Tensor labels;
  if (o.class_embed_type == "identity") {
    labels = at::zeros({1, net->temb_channels()}, options);
  } else if (o.conditional()) {
    labels = at::zeros({1}, options.dtype(at::kLong));
  }
  const Evaluating evaluating(net);
  Listener listener(net);
  net->forward(at::zeros({1, o.in_channels, height, width}, options),
               at::zeros({1}, options.dtype(at::kLong)), labels);
  return std::move(listener.found);
}

}  // namespace tweedie

// A network of any kind: what a config's "model" says, and the network built from it.
#pragma once
#include <variant>

#include "tweedie/nn/mlp_options.h"
#include "tweedie/nn/network.h"
#include "tweedie/nn/unet_options.h"

namespace tweedie {

/// The options of a U-Net (diffusers' keys) or, with "type": "mlp", of an MLP.
///
///   config.model->in_channels = 1;                  // a key that every network has
///   config.model.unet().block_out_channels = {32};  // one of the U-Net
///   config.model = MlpOptions();
struct ModelOptions {
  ModelOptions(UNetOptions unet = {}) : kind(std::move(unet)) {}
  ModelOptions(MlpOptions mlp) : kind(std::move(mlp)) {}

  NetworkOptions* operator->();
  const NetworkOptions* operator->() const;
  /// Throws Error (user) if it is another network's.
  UNetOptions& unet();
  bool is_mlp() const { return std::holds_alternative<MlpOptions>(kind); }

  std::variant<UNetOptions, MlpOptions> kind;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    std::visit([&](auto& options) { std::decay_t<decltype(options)>::visit(options, field); },
               self.kind);
  }
};

/// "type" first, if it is no U-Net; of an object with another "type" than it has now, the rest is
/// read over that network's defaults.
Json to_json(const ModelOptions& options);
void from_json(const Json& json, ModelOptions& options, const std::string& path = "",
               const Rule& rule = {});
/// The keys of every kind of network.
void describe_fields(const ModelOptions& options, std::vector<FieldDoc>& out,
                     const std::string& prefix = "");

/// Throws Error, one line with key, value and choices, for what no network can be built from.
void validate(const ModelOptions& options);
Network build_network(const ModelOptions& options, uint64_t seed = 0);

/// What a model folder says of its network: config.json with _class_name UNet2DModel, where a
/// U-Net belongs to diffusers, or TweedieMLP.
Json network_config(const ModelOptions& options);
ModelOptions options_of_network(const Json& config);

}  // namespace tweedie

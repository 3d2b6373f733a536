#include "tweedie/nn/model_options.h"

#include "tweedie/nn/mlp.h"
#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

constexpr const char* kUNet = "UNet2DModel";
constexpr const char* kMlp = "TweedieMLP";

std::vector<std::string> types() { return {"unet", "mlp"}; }

}  // namespace

void validate(const MlpOptions& o) {
  MlpOptions checked;
  from_json(to_json(o), checked);  // the rules of the single fields
  const bool one =
      o.sample_size.is_null() || o.sample_size == Json(1) || o.sample_size == Json::array({1, 1});
  if (!one)
    fail("[mlp] sample_size {}: expected null or [1, 1]: an MLP is for points",
         options_detail::excerpt(o.sample_size));
  if (o.width % 2 != 0) fail("[mlp] width {}: expected an even number", o.width);
}

NetworkOptions* ModelOptions::operator->() {
  return std::visit([](auto& options) -> NetworkOptions* { return &options; }, kind);
}
const NetworkOptions* ModelOptions::operator->() const {
  return std::visit([](const auto& options) -> const NetworkOptions* { return &options; }, kind);
}

UNetOptions& ModelOptions::unet() {
  if (is_mlp()) fail("[model] type mlp: expected a U-Net");
  return std::get<UNetOptions>(kind);
}

Json to_json(const ModelOptions& options) {
  Json json = Json::object();
  if (options.is_mlp()) json["type"] = "mlp";
  json.update(std::visit([](const auto& kind) { return to_json(kind); }, options.kind));
  return json;
}

void from_json(const Json& json, ModelOptions& options, const std::string& path, const Rule&) {
  if (!json.is_object()) options_detail::wrong_type(path, "an object", json);
  Json rest = json;
  if (const auto type = json.find("type"); type != json.end()) {
    std::string name;
    from_json(*type, name, path.empty() ? "type" : path + ".type", one_of(types()));
    if (name == "mlp" && !options.is_mlp()) options = MlpOptions();
    if (name == "unet" && options.is_mlp()) options = UNetOptions();
    rest.erase("type");
  }
  std::visit([&](auto& kind) { from_json(rest, kind, path); }, options.kind);
}

void describe_fields(const ModelOptions&, std::vector<FieldDoc>& out, const std::string& prefix) {
  out.push_back({prefix + "type", "\"unet\"",
                 "of the network; mlp is for points, with its keys below", types()});
  std::vector<FieldDoc> unet, mlp;
  describe_fields(UNetOptions(), unet, prefix);
  describe_fields(MlpOptions(), mlp, prefix);
  for (FieldDoc& field : unet) {
    field.kind = "unet";
    out.push_back(std::move(field));
  }
  for (FieldDoc& field : mlp) {
    field.kind = "mlp", field.doc = "mlp: " + field.doc;
    out.push_back(std::move(field));
  }
}

void validate(const ModelOptions& options) {
  std::visit([](const auto& kind) { validate(kind); }, options.kind);
}

Network build_network(const ModelOptions& options, uint64_t seed) {
  if (options.is_mlp()) return Mlp(std::get<MlpOptions>(options.kind), seed);
  return UNet(std::get<UNetOptions>(options.kind), seed);
}

Json network_config(const ModelOptions& options) {
  Json json = std::visit([](const auto& kind) { return to_json(kind); }, options.kind);
  json["_class_name"] = options.is_mlp() ? kMlp : kUNet;
  return json;
}

ModelOptions options_of_network(const Json& config) {
  if (!config.is_object() || config.value("_class_name", Json()) != kMlp)
    return unet_options_from_json(config);
  MlpOptions options;
  Json keys = Json::object();
  for (const auto& [key, value] : config.items())
    if (!key.starts_with("_")) keys[key] = value;
  from_json(keys, options);
  validate(options);
  return options;
}

}  // namespace tweedie

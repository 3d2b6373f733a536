#include "plan.h"

#include "tweedie/kernels/instruction_set.h"
#include "tweedie/nn/layer_list.h"

namespace tweedie::cli {
namespace {

std::string algorithm_of(const ConvLayer& layer) {
  if (layer.is_planned())
    return plan_conv3x3(layer.shape()) == ConvPlan::kWinograd ? "winograd F(4x4,3x3)"
                                                              : "stock direct";
  if (layer.kernel == 1 && layer.stride == 1) return "1x1 product";
  return formatted("stock, stride {}", layer.stride);
}

}  // namespace

LayerTable layer_table(const Model& model) {
  const LayerList layers = layers_of(model.net, model.height, model.width);
  const std::string set = kernels::instruction_set();
  LayerTable out;
  out.json = {{"version", kConvPlanVersion},   {"instruction_set", set},
              {"height", model.height},        {"width", model.width},
              {"convolutions", Json::array()}, {"attentions", Json::array()}};
  out.lines.push_back(formatted("{:<40} {:>13} {:>6} {:>9}  {:<20} {:>9}", "layer", "channels",
                                "kernel", "size", "algorithm", "MFLOP"));
  const auto add = [&](const std::string& name, const std::string& channels,
                       const std::string& kernel, const std::string& size,
                       const std::string& algorithm, double flop) {
    out.lines.push_back(formatted("{:<40} {:>13} {:>6} {:>9}  {:<20} {:>9.2f}", name, channels,
                                  kernel, size, algorithm, 1e-6 * flop));
  };
  double total = 0, winograd = 0;
  for (const ConvLayer& c : layers.convolutions) {
    const std::string algorithm = algorithm_of(c);
    add(c.name, formatted("{} -> {}", c.in, c.out), formatted("{}x{}", c.kernel, c.kernel),
        formatted("{}x{}", c.height, c.width), algorithm, c.flop());
    out.json["convolutions"].push_back({{"name", c.name},
                                        {"in", c.in},
                                        {"out", c.out},
                                        {"kernel", c.kernel},
                                        {"stride", c.stride},
                                        {"height", c.height},
                                        {"width", c.width},
                                        {"algorithm", algorithm},
                                        {"flop", c.flop()}});
    total += c.flop();
    if (algorithm.starts_with("winograd")) winograd += c.flop();
  }
  for (const AttentionLayer& a : layers.attentions) {
    add(a.name, formatted("{} x {}", a.heads, a.dim), "", formatted("{}", a.tokens),
        "32 queries at a time", a.flop());
    out.json["attentions"].push_back({{"name", a.name},
                                      {"tokens", a.tokens},
                                      {"heads", a.heads},
                                      {"dim", a.dim},
                                      {"flop", a.flop()}});
    total += a.flop();
  }
  out.json["flop"] = total;
  out.lines.push_back(formatted(
      "{} convolutions, {} attentions: {:.1f} MFLOP an image by the direct method, {:.0f}% of them "
      "by Winograd; version {}, {}",
      layers.convolutions.size(), layers.attentions.size(), 1e-6 * total,
      total > 0 ? 100 * winograd / total : 0, kConvPlanVersion, set));
  return out;
}

}  // namespace tweedie::cli

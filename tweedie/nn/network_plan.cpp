#include "tweedie/nn/network_plan.h"

#include <algorithm>
#include <set>

#include "tweedie/kernels/instruction_set.h"
#include "tweedie/kernels/tune.h"
#include "tweedie/nn/layers.h"

namespace tweedie {
namespace {

const char* name_of(ConvPlan plan) { return plan == ConvPlan::kWinograd ? "winograd" : "stock"; }

// `choose` is asked once a shape.
template <class Choose>
NetworkPlan make_plan(Network net, int64_t height, int64_t width, Choose&& choose) {
  NetworkPlan plan{.instruction_set = kernels::instruction_set()};
  std::set<ConvShape> seen;
  for (const ConvLayer& layer : layers_of(net, height, width).convolutions) {
    const ConvShape s = layer.shape();
    if (layer.is_planned() && seen.insert(s).second)
      plan.convolutions.push_back({s.in, s.out, s.height, s.width, name_of(choose(s))});
  }
  return plan;
}

}  // namespace

std::string NetworkPlan::describe() const {
  const auto ours = std::ranges::count(convolutions, "winograd", &PlannedConv::algorithm);
  return formatted("{} (version {}, {}): {} shapes by Winograd, {} stock",
                   measured ? "measured" : "by rule", version, instruction_set, ours,
                   static_cast<int64_t>(convolutions.size()) - ours);
}

NetworkPlan plan_by_rule(Network net, int64_t height, int64_t width, int64_t batch) {
  return make_plan(net, height, width,
                   [&](const ConvShape& s) { return plan_conv3x3_training(s, batch); });
}

NetworkPlan plan_by_measurement(Network net, int64_t height, int64_t width, int64_t batch,
                                bool gradients, const NoticeFn& notice) {
  NetworkPlan plan = make_plan(net, height, width, [&](const ConvShape& s) {
    const ConvTimes times = time_conv3x3(s, batch, gradients);
    const ConvPlan chosen = times.winograd < times.stock ? ConvPlan::kWinograd : ConvPlan::kStock;
    if (notice)
      notice(formatted("tuned {:>4} -> {:<4} {:>3}x{:<3} {:<8}  stock {:.3f} ms, winograd {:.3f}",
                       s.in, s.out, s.height, s.width, name_of(chosen), 1e3 * times.stock,
                       1e3 * times.winograd));
    return chosen;
  });
  plan.measured = true;
  return plan;
}

void use_plan(Network net, const NetworkPlan& plan) {
  const auto plans = std::make_shared<ConvPlans>();
  for (const PlannedConv& c : plan.convolutions)
    (*plans)[{c.in, c.out, c.height, c.width}] =
        c.algorithm == "winograd" ? ConvPlan::kWinograd : ConvPlan::kStock;
  for (const auto& module : net->modules(/*include_self=*/false))
    if (auto* conv = dynamic_cast<ConvImpl*>(module.get())) conv->set_plans(plans);
}

std::string foreign_plan_notice(const NetworkPlan& plan) {
  const std::string here = kernels::instruction_set();
  if (plan.version == kConvPlanVersion && plan.instruction_set == here) return "";
  return formatted(
      "the plan of the convolutions is of version {} for {}, here it would be version {} for {}: "
      "it is kept; --tune makes another",
      plan.version, plan.instruction_set, kConvPlanVersion, here);
}

}  // namespace tweedie

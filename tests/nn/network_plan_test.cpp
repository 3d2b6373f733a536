#include "tweedie/nn/network_plan.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/support/errors.h"
#include "tests/support/tiny_unet.h"
#include "tweedie/kernels/instruction_set.h"
#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;
using testing::tiny_unet;

const ConvLayer& layer(const LayerList& list, const std::string& name) {
  return *std::ranges::find(list.convolutions, name, &ConvLayer::name);
}

Tensor output(UNet& net) {
  const at::NoGradGuard no_grad;
  return net->forward(at::ones({2, 1, 8, 8}), at::zeros({1}));
}

}  // namespace

TEST(LayerList, NamesEveryConvolutionAndAttentionWithItsSize) {
  UNet net(tiny_unet());
  net->train();
  const LayerList list = layers_of(net, 12, 8);
  EXPECT_TRUE(net->is_training()) << "left as it was";

  std::set<std::string> expected, found;
  for (const auto& [name, tensor] : state_of(*net))
    if (tensor.dim() == 4) expected.insert(name.substr(0, name.rfind('.')));
  for (const ConvLayer& conv : list.convolutions) found.insert(conv.name);
  EXPECT_EQ(found, expected);
  EXPECT_EQ(list.convolutions.size(), expected.size()) << "each once";

  const ConvLayer& in = layer(list, "conv_in");
  EXPECT_EQ(in.shape(), (ConvShape{1, 8, 12, 8}));
  EXPECT_EQ(in.flop(), 2.0 * 9 * 1 * 8 * 12 * 8);
  const ConvLayer& down = layer(list, "down_blocks.0.downsamplers.0.conv");
  EXPECT_EQ(down.stride, 2);
  EXPECT_FALSE(down.is_planned());
  EXPECT_EQ(down.shape(), (ConvShape{8, 8, 6, 4}));
  EXPECT_EQ(layer(list, "up_blocks.0.upsamplers.0.conv").shape(), (ConvShape{16, 16, 12, 8}));
  const ConvLayer& shortcut = layer(list, "down_blocks.1.resnets.0.conv_shortcut");
  EXPECT_EQ(shortcut.kernel, 1);
  EXPECT_FALSE(shortcut.is_planned());

  ASSERT_EQ(list.attentions.size(), 4u);
  EXPECT_EQ(list.attentions[0].name, "down_blocks.1.attentions.0");
  EXPECT_EQ(list.attentions[0].tokens, 6 * 4);
  EXPECT_EQ(list.attentions[0].heads * list.attentions[0].dim, 16);
}

TEST(LayerList, NetworksOfEveryKindOfClasses) {
  for (const std::string type : {"", "timestep", "identity"}) {
    UNetOptions options = tiny_unet();
    if (type.empty()) options.num_class_embeds = 3;
    if (!type.empty()) options.class_embed_type = type;
    EXPECT_FALSE(layers_of(UNet(options), 8, 8).convolutions.empty()) << type;
  }
  EXPECT_TRUE(contains(message_of([] { layers_of(UNet(tiny_unet()), 7, 8); }), "7x8"));
}

TEST(NetworkPlan, ByRuleHoldsEachShapeOnceAsTheRuleSays) {
  const NetworkPlan plan = plan_by_rule(UNet(tiny_unet(1, {16, 32})), 16, 16, 2);
  EXPECT_EQ(plan.version, kConvPlanVersion);
  EXPECT_EQ(plan.instruction_set, kernels::instruction_set());
  EXPECT_FALSE(plan.measured);
  std::set<ConvShape> seen;
  for (const PlannedConv& c : plan.convolutions) {
    const ConvShape shape{c.in, c.out, c.height, c.width};
    EXPECT_TRUE(seen.insert(shape).second);
    EXPECT_EQ(c.algorithm == "winograd", plan_conv3x3_training(shape, 2) == ConvPlan::kWinograd);
  }
  EXPECT_TRUE(seen.contains({16, 16, 16, 16}));
  EXPECT_TRUE(seen.contains({32, 32, 8, 8}));
}

TEST(NetworkPlan, ByMeasurementTellsEveryShape) {
  std::vector<std::string> told;
  const NetworkPlan plan = plan_by_measurement(UNet(tiny_unet(1, {16, 32})), 16, 16, 2, true,
                                               [&](const auto& line) { told.push_back(line); });
  EXPECT_TRUE(plan.measured);
  EXPECT_EQ(told.size(), plan.convolutions.size());
  EXPECT_TRUE(contains(told.front(), "winograd")) << told.front();
}

TEST(NetworkPlan, IsFollowed) {
  UNet net(tiny_unet());
  net->eval();
  NetworkPlan plan = plan_by_rule(net, 8, 8, 64);
  use_plan(net, plan);
  const Tensor by_rule = output(net);
  for (PlannedConv& c : plan.convolutions) c.algorithm = "winograd";  // 8 channels: never by rule
  use_plan(net, plan);
  const Tensor planned = output(net);
  EXPECT_FALSE(at::equal(planned, by_rule)) << "another rounding";
  EXPECT_TRUE(at::allclose(planned, by_rule, 1e-4, 1e-4));
  use_plan(net, plan_by_rule(net, 8, 8, 64));
  EXPECT_TRUE(at::equal(output(net), by_rule));
}

TEST(NetworkPlan, SurvivesJsonAndRefusesAnUnknownAlgorithm) {
  const NetworkPlan plan = plan_by_rule(UNet(tiny_unet()), 8, 8, 64);
  NetworkPlan back;
  from_json(to_json(plan), back);
  EXPECT_EQ(to_json(back), to_json(plan));
  Json json = to_json(plan);
  json["convolutions"][0]["algorithm"] = "fft";
  EXPECT_TRUE(contains(message_of([&] { from_json(json, back); }), "fft"));
}

TEST(NetworkPlan, OfAnotherVersionOrInstructionSetIsForeign) {
  NetworkPlan plan = plan_by_rule(UNet(tiny_unet()), 8, 8, 64);
  EXPECT_EQ(foreign_plan_notice(plan), "");
  plan.version += 1;
  EXPECT_TRUE(contains(foreign_plan_notice(plan), formatted("version {} for", plan.version)));
  plan.version -= 1, plan.instruction_set = "mmx";
  EXPECT_TRUE(contains(foreign_plan_notice(plan), "mmx"));
}

}  // namespace tweedie

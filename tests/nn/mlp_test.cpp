#include "tweedie/nn/mlp.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tweedie/nn/model_options.h"
#include "tweedie/nn/network_plan.h"
#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

MlpOptions small() {
  MlpOptions options;
  options.in_channels = 3, options.out_channels = 6;
  options.width = 16, options.depth = 2, options.frequencies = 2;
  options.num_class_embeds = 4;
  return options;
}

Tensor points(int64_t n) { return at::linspace(-2, 2, 3 * n).view({n, 3, 1, 1}); }

}  // namespace

// The network once more, by its weights' names, with LibTorch's own layers.
TEST(Mlp, IsWhatItsWeightsSay) {
  const at::NoGradGuard no_grad;
  Mlp net(small(), 7);
  const Tensor x = points(5), t = at::tensor({0, 3, 250, 700, 999});
  const Tensor labels = at::tensor({0, 3, 1, 2, 2});
  const auto w = state_of(*net);
  const auto linear = [&](const std::string& name, const Tensor& in) {
    return at::matmul(in, w.at(name + ".weight").t()) + w.at(name + ".bias");
  };
  const Tensor frequencies = at::pow(1e-4, at::arange(8, at::kFloat) / 8);
  const Tensor phase = t.unsqueeze(1) * frequencies;
  const Tensor sinusoid = at::cat({phase.cos(), phase.sin()}, 1);
  const Tensor time =
      linear("time_embedding.linear_2", at::silu(linear("time_embedding.linear_1", sinusoid))) +
      w.at("class_embedding.weight").index({labels});
  const Tensor p = x.flatten(1);
  Tensor h = linear("linear_in", at::cat({p, p.sin(), p.cos(), (2 * p).sin(), (2 * p).cos()}, 1));
  for (const std::string block : {"blocks.0", "blocks.1"})
    h = h + linear(block + ".linear_2", at::silu(linear(block + ".linear_1", h + time)));
  const Tensor expected = linear("linear_out", h);
  const Tensor found = net->forward(x, t, labels);
  EXPECT_EQ(found.sizes(), (std::vector<int64_t>{5, 6, 1, 1}));
  EXPECT_LT((found.flatten(1) - expected).abs().max().item<double>(), 1e-4);
  EXPECT_EQ(parameter_count(*net),
            5 * 3 * 16 + 16 + 2 * (16 * 16 + 16) + 4 * 16 + 2 * 2 * (16 * 16 + 16) + 16 * 6 + 6);
}

TEST(Mlp, RefusesWhatDoesNotFit) {
  Mlp net(small());
  const Tensor t = at::tensor({1}), labels = at::tensor({1});
  const auto refused = [&](const Tensor& x, const Tensor& y) {
    return message_of([&] { net->forward(x, t, y); });
  };
  EXPECT_TRUE(contains(refused(at::zeros({2, 2, 1, 1}), labels), "expected [N,3,1,1]"));
  EXPECT_TRUE(contains(refused(at::zeros({2, 3, 2, 1}), labels), "[2,3,2,1]"));
  EXPECT_TRUE(contains(refused(points(2), {}), "class labels missing"));
  EXPECT_TRUE(contains(refused(points(2), at::tensor({4})), "known: 0..3"));
  EXPECT_TRUE(contains(message_of([] {
                         Mlp net{MlpOptions()};
                         net->forward(at::zeros({1, 2, 1, 1}), at::tensor({1}), at::tensor({0}));
                       }),
                       "unconditional"));
  MlpOptions odd;
  odd.width = 15;
  EXPECT_TRUE(contains(message_of([&] { Mlp net(odd); }), "width 15"));
  odd.width = 16, odd.sample_size = 8;
  EXPECT_TRUE(contains(message_of([&] { Mlp net(odd); }), "sample_size 8"));
}

TEST(Mlp, HasNoConvolutionsToPlan) {
  Network net = Mlp(small());
  EXPECT_TRUE(layers_of(net, 1, 1).convolutions.empty());
  const NetworkPlan plan = plan_by_rule(net, 1, 1, 64);
  EXPECT_TRUE(plan.convolutions.empty());
  use_plan(net, plan);
}

TEST(ModelOptions, TheTypeSaysWhichKeysThereAre) {
  ModelOptions options;
  EXPECT_FALSE(options.is_mlp());
  const Json unet = to_json(options);
  EXPECT_FALSE(unet.contains("type"));
  from_json(Json::parse(R"({"type": "mlp", "width": 32})"), options, "model");
  ASSERT_TRUE(options.is_mlp());
  EXPECT_EQ(to_json(options)["type"], "mlp");
  EXPECT_EQ(to_json(options)["width"], 32);
  from_json(Json::parse(R"({"depth": 2})"), options, "model");  // over what is there
  EXPECT_EQ(to_json(options)["width"], 32);
  ModelOptions again;
  from_json(to_json(options), again);
  EXPECT_EQ(to_json(again), to_json(options));
  from_json(Json::parse(R"({"type": "unet"})"), options);
  EXPECT_EQ(to_json(options), unet);
  EXPECT_NE(dynamic_cast<MlpImpl*>(build_network(again).get()), nullptr);
}

TEST(ModelOptions, UnknownKeysAndTypesAreRefused) {
  const auto refused = [](const char* text) {
    return message_of([&] {
      ModelOptions options;
      from_json(Json::parse(text), options, "model");
    });
  };
  EXPECT_TRUE(contains(refused(R"({"type": "mlq"})"), "did you mean mlp?"));
  EXPECT_TRUE(contains(refused(R"({"type": "mlp", "widht": 3})"), "did you mean model.width?"));
  EXPECT_TRUE(contains(refused(R"({"type": "mlp", "layers_per_block": 3})"), "layers_per_block"));
  EXPECT_TRUE(contains(refused(R"({"width": 3})"), "unknown config key 'model.width'"));
  EXPECT_TRUE(contains(refused(R"({"type": "mlp", "depth": 0})"), "model.depth"));
  EXPECT_TRUE(contains(refused("[]"), "expected an object"));
  EXPECT_TRUE(contains(message_of([] { ModelOptions(MlpOptions()).unet(); }), "expected a U-Net"));
}

TEST(ModelOptions, AFoldersConfigIsReadBack) {
  MlpOptions mlp = small();
  mlp.sample_size = Json::array({1, 1});
  const Json config = network_config(mlp);
  EXPECT_EQ(config["_class_name"], "TweedieMLP");
  EXPECT_EQ(to_json(options_of_network(config)), to_json(ModelOptions(mlp)));
  EXPECT_EQ(network_config(UNetOptions())["_class_name"], "UNet2DModel");
  EXPECT_FALSE(options_of_network(network_config(UNetOptions())).is_mlp());
  Json wrong = config;
  wrong["hidden"] = 3;
  EXPECT_TRUE(contains(message_of([&] { options_of_network(wrong); }), "hidden"));
}

}  // namespace tweedie

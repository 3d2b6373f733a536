#include "tweedie/nn/unet.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "tests/support/errors.h"
#include "tests/support/tiny_unet.h"
#include "tweedie/core/error.h"
#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

using testing::message_of;
using testing::tiny_unet;

UNetOptions skip() {
  UNetOptions o = tiny_unet();
  o.in_channels = o.out_channels = 3;
  o.block_out_channels = {32, 32};
  o.down_block_types = {"SkipDownBlock2D", "AttnSkipDownBlock2D"};
  o.up_block_types = {"AttnSkipUpBlock2D", "SkipUpBlock2D"};
  o.time_embedding_type = "fourier";
  o.norm_num_groups.reset();
  return o;
}

Tensor noise(at::IntArrayRef size) { return at::randn(size, at::detail::createCPUGenerator(1)); }

}  // namespace

TEST(UNet, GivesAnImageOfTheInputsSize) {
  UNet net(tiny_unet());
  const Tensor x = noise({2, 1, 6, 10});
  const Tensor y = net->forward(x, at::tensor({3, 500}));
  EXPECT_EQ(y.sizes(), x.sizes());
  EXPECT_TRUE(y.isfinite().all().item<bool>());
}

TEST(UNet, SendsAGradientToEveryTrainedParameter) {
  for (const UNetOptions& options : {tiny_unet(), skip()}) {
    UNet net(options);
    const Tensor x = noise({2, options.in_channels, 4, 4});
    net->forward(x, at::tensor({3, 500})).square().mean().backward();
    for (const auto& item : net->named_parameters()) {
      if (!item.value().requires_grad()) continue;
      EXPECT_GT(item.value().grad().abs().sum().item<float>(), 0) << item.key();
    }
  }
}

TEST(UNet, GradientAgreesWithFiniteDifferences) {
  for (const UNetOptions& options : {tiny_unet(), skip()}) {
    UNet net(options);
    net->to(at::kDouble);
    const Tensor x = noise({1, options.in_channels, 4, 4}).to(at::kDouble);
    const Tensor t = at::tensor({40}), y = noise(x.sizes()).to(at::kDouble);
    const auto loss = [&] { return (net->forward(x, t) * y).sum(); };
    loss().backward();
    for (const char* name :
         {"conv_in.weight", "time_embedding.linear_1.weight",
          "down_blocks.1.attentions.0.to_k.weight", "up_blocks.0.resnets.0.conv1.weight",
          "mid_block.resnets.0.time_emb_proj.weight"}) {
      Tensor weight = net->named_parameters()[name];
      const Tensor direction = noise(weight.sizes()).to(at::kDouble);
      const double expected = (weight.grad() * direction).sum().item<double>();
      const at::NoGradGuard no_grad;
      const double h = 1e-5;
      weight.add_(direction, h);
      const double above = loss().item<double>();
      weight.sub_(direction, 2 * h);
      const double below = loss().item<double>();
      weight.add_(direction, h);
      EXPECT_NEAR((above - below) / (2 * h), expected, 1e-5 * std::max(1.0, std::abs(expected)))
          << name;
    }
  }
}

TEST(UNet, ComputesTheSameWithAndWithoutAutograd) {
  for (const UNetOptions& options : {tiny_unet(), skip()}) {
    UNet net(options);
    const Tensor x = noise({2, options.in_channels, 8, 8}), t = at::tensor({3, 500});
    const Tensor with = net->forward(x, t);
    const at::NoGradGuard no_grad;
    // The algorithms differ: a kept filter's transform pays for fewer tiles.
    const Tensor without = net->forward(x, t);
    EXPECT_LT(((with - without).norm() / with.norm()).item<double>(), 2e-5);
  }
}

TEST(UNet, AnImageDoesNotDependOnTheOthersOfItsBatch) {
  UNet net(tiny_unet());
  const at::NoGradGuard no_grad;
  const Tensor x = noise({3, 1, 8, 8}), t = at::tensor({3, 500, 999});
  const Tensor together = net->forward(x, t);
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_TRUE(at::allclose(together[i], net->forward(x.slice(0, i, i + 1), t[i])[0], 1e-5, 1e-6));
}

TEST(UNet, SpreadsOneTimeAndOneClassOverTheBatch) {
  UNetOptions options = tiny_unet();
  options.num_class_embeds = 4;
  UNet net(options);
  const at::NoGradGuard no_grad;
  const Tensor x = noise({2, 1, 4, 4});
  const Tensor each = net->forward(x, at::tensor({9, 9}), at::tensor({2, 2}));
  EXPECT_TRUE(at::equal(each, net->forward(x, at::tensor(9), at::tensor(2))));
  EXPECT_TRUE(at::equal(each, net->forward(x, at::tensor({9.0}), at::tensor({2}))));
  EXPECT_FALSE(at::equal(each, net->forward(x, at::tensor(10), at::tensor(2))));
  EXPECT_FALSE(at::equal(each, net->forward(x, at::tensor(9), at::tensor(3))));
  EXPECT_FALSE(at::equal(each, net->forward(x, at::tensor(9.5), at::tensor(2))));
}

TEST(UNet, FourierDividesByTheNoiseLevel) {
  // The last layer is linear in its bias: with all other weights zero the output is bias / sigma.
  UNet net(skip());
  for (auto& [name, tensor] : state_of(*net)) tensor.zero_();
  state_of(*net).at("conv_out.bias").fill_(6);
  const at::NoGradGuard no_grad;
  const Tensor y = net->forward(noise({2, 3, 4, 4}), at::tensor({2.0, 12.0}));
  EXPECT_EQ(y.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::allclose(y[0], at::full({3, 4, 4}, 3.0)));
  EXPECT_TRUE(at::allclose(y[1], at::full({3, 4, 4}, 0.5)));
}

TEST(UNet, WorksForSidesThatAreMultiplesAndSaysSoForOthers) {
  UNetOptions options = tiny_unet();
  options.block_out_channels = {8, 8, 8};
  options.down_block_types.push_back("DownBlock2D");
  options.up_block_types.push_back("UpBlock2D");
  UNet net(options);
  const at::NoGradGuard no_grad;
  for (int64_t height = 1; height <= 12; ++height) {
    const std::string message = message_of([&] {
      net->forward(noise({1, 1, height, 8}), at::tensor(1));
    });
    EXPECT_EQ(message, height % 4 == 0
                           ? ""
                           : formatted("[unet] {}x8 does not work with 2 halvings: both sides "
                                       "must be multiples of 4",
                                       height));
  }
}

TEST(UNet, RefusesWhatDoesNotFit) {
  UNetOptions options = tiny_unet();
  UNet plain(options);
  options.num_class_embeds = 11;
  UNet table(options);
  options.class_embed_type = "identity";
  UNet identity(options);
  UNetOptions learned_options = tiny_unet();
  learned_options.time_embedding_type = "learned";
  learned_options.num_train_timesteps = 100;
  UNet learned(learned_options);
  const Tensor x = noise({2, 1, 4, 4}), t = at::tensor({1, 2});
  const auto fault = [&](UNet& net, const Tensor& input, const Tensor& time,
                         const Tensor& classes) {
    return message_of([&] { net->forward(input, time, classes); });
  };
  EXPECT_EQ(fault(plain, noise({2, 3, 4, 4}), t, {}),
            "[unet] input has shape [2,3,4,4], expected [N,1,H,W]");
  EXPECT_EQ(fault(plain, noise({1, 4, 4}), t, {}),
            "[unet] input has shape [1,4,4], expected [N,1,H,W]");
  EXPECT_EQ(fault(plain, noise({0, 1, 4, 4}), at::tensor(1), {}),
            "[unet] input has shape [0,1,4,4], expected [N,1,H,W]");
  EXPECT_EQ(fault(plain, x.to(at::kLong), t, {}), "[unet] input is Long, expected floating point");
  EXPECT_EQ(fault(plain, x, at::tensor({1, 2, 3}), {}),
            "[unet] t has shape [3], expected one value or [2]");
  EXPECT_EQ(fault(plain, x, t, at::tensor({1, 2})),
            "[unet] class labels given to an unconditional network (num_class_embeds is null)");
  EXPECT_EQ(fault(table, x, t, {}),
            "[unet] class labels missing: the network is class-conditional (classes 0..10)");
  EXPECT_EQ(fault(table, x, t, at::tensor({0, 11})), "[unet] class 11: out of range, known: 0..10");
  EXPECT_EQ(fault(table, x, t, at::tensor({-1, 3})), "[unet] class -1: out of range, known: 0..10");
  EXPECT_EQ(fault(table, x, t, at::tensor({0.5, 1.0})),
            "[unet] class is Double, expected whole numbers");
  EXPECT_EQ(fault(table, x, t, at::tensor({0, 1, 2})),
            "[unet] class labels has shape [3], expected one value or [2]");
  EXPECT_EQ(fault(identity, x, t, {}),
            "[unet] class labels missing: the network is class-conditional (class_embed_type "
            "identity)");
  EXPECT_EQ(fault(identity, x, t, at::zeros({2, 8})),
            "[unet] class labels have shape [2,8], expected [2,32]");
  EXPECT_EQ(fault(learned, x, at::tensor({1, 100}), {}),
            "[unet] t 100: out of range, known: 0..99");
  EXPECT_EQ(fault(learned, x, at::tensor({1.5, 2.0}), {}),
            "[unet] t is Double, expected whole numbers");
}

TEST(UNet, DropoutIsAFunctionOfItsGenerator) {
  UNetOptions options = tiny_unet();
  options.dropout = 0.5;
  UNet net(options);
  const Tensor x = noise({2, 1, 4, 4}), t = at::tensor({1, 2});
  EXPECT_EQ(message_of([&] { net->forward(x, t); }),
            "[unet] dropout 0.5 in training mode needs set_dropout_generator");
  const auto draw = [&](uint64_t seed) {
    net->set_dropout_generator(at::detail::createCPUGenerator(seed));
    return net->forward(x, t);
  };
  const Tensor first = draw(1);
  EXPECT_FALSE(at::equal(first, net->forward(x, t))) << "the generator moved on";
  EXPECT_FALSE(at::equal(first, draw(2)));
  EXPECT_TRUE(at::equal(first, draw(1)));
  net->eval();
  EXPECT_TRUE(at::equal(net->forward(x, t), net->forward(x, t)));
}

TEST(UNet, DropoutKeepsTheMean) {
  // A resnet whose second convolution is the identity and whose norm gives ones: its output is x +
  // dropout(1).
  ResnetOptions options{.in_channels = 4,
                        .out_channels = 4,
                        .temb_channels = 4,
                        .groups_in = 2,
                        .groups_out = 2,
                        .act_fn = "relu",
                        .dropout = 0.25};
  Resnet resnet(options);
  std::map<std::string, Tensor> state = state_of(*resnet);
  for (auto& [name, tensor] : state) tensor.zero_();
  state.at("norm2.bias").fill_(1);
  for (int64_t c = 0; c < 4; ++c) state.at("conv2.weight")[c][c][1][1] = 1;
  resnet->set_dropout_generator(at::detail::createCPUGenerator(3));
  const at::NoGradGuard no_grad;
  const Tensor y = resnet->forward(at::zeros({1, 4, 64, 64}), at::zeros({1, 4}));
  EXPECT_NEAR((y == 0).to(at::kFloat).mean().item<double>(), 0.25, 0.015);
  EXPECT_TRUE(at::allclose(y.masked_select(y != 0), at::full({1}, 1 / 0.75)));
}

TEST(UNet, TwoNetworksRunInTwoThreads) {
  const Tensor x = noise({2, 1, 8, 8}), t = at::tensor({3, 500});
  UNet a(tiny_unet(), 1), b(tiny_unet(), 2);
  const at::NoGradGuard no_grad;
  const Tensor from_a = a->forward(x, t), from_b = b->forward(x, t);
  int wrong[2] = {0, 0};
  const auto work = [&](UNet& net, const Tensor& expected, int& count) {
    const at::NoGradGuard no_grad_here;
    for (int i = 0; i < 20; ++i) count += !at::allclose(net->forward(x, t), expected, 1e-5, 1e-6);
  };
  std::thread first([&] { work(a, from_a, wrong[0]); }), second([&] { work(b, from_b, wrong[1]); });
  first.join();
  second.join();
  EXPECT_EQ(wrong[0] + wrong[1], 0);
}

TEST(UNet, ANetworkThatFitsNoMemoryIsOneLine) {
  UNetOptions options = tiny_unet();
  options.block_out_channels = {1 << 20, 1 << 20};
  const std::string message = message_of([&] { UNet net(options); }, Error::Kind::kSystem);
  EXPECT_EQ(message.compare(0, 37, "[unet] the network cannot be built: ["), 0) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST(UNet, LearnsInBfloat16) {
  UNetOptions shifting = tiny_unet();
  shifting.resnet_time_scale_shift = "scale_shift";
  for (const UNetOptions& options : {tiny_unet(), shifting, skip()}) {
    UNet net(options);
    const Tensor x = noise({2, options.in_channels, 8, 8}), t = at::tensor({3, 500});
    const Tensor expected = net->forward(x, t).detach();
    const auto distance = [&](const Tensor& y) {
      return (y.to(at::kFloat) - expected).norm().item<double>() / expected.norm().item<double>();
    };
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    const Tensor trained = net->forward(x, t);
    at::autocast::set_autocast_enabled(at::kCPU, false);
    at::autocast::clear_cache();
    trained.to(at::kFloat).square().mean().backward();
    EXPECT_LT(distance(trained.detach()), 0.05);
    for (const auto& item : net->named_parameters())
      if (item.value().requires_grad()) {
        EXPECT_GT(item.value().grad().abs().sum().item<float>(), 0) << item.key();
      }
    const at::NoGradGuard no_grad;
    net->to(at::kBFloat16);
    const Tensor converted = net->forward(x.to(at::kBFloat16), t);
    EXPECT_EQ(converted.scalar_type(), at::kBFloat16);
    EXPECT_LT(distance(converted), 0.05);
  }
}

TEST(UNet, RunsOnAGpu) {
  if (!at::hasCUDA()) GTEST_SKIP() << "no GPU";
  for (const UNetOptions& options : {tiny_unet(), skip()}) {
    UNet net(options);
    const Tensor x = noise({2, options.in_channels, 8, 8}), t = at::tensor({3, 500});
    const at::NoGradGuard no_grad;
    const Tensor expected = net->forward(x, t);
    net->to(at::kCUDA);
    const Tensor y = net->forward(x.cuda(), t.cuda()).cpu();
    EXPECT_LT((y - expected).abs().max().item<double>(),
              1e-3 * expected.abs().max().item<double>());
  }
}

}  // namespace tweedie

// The network on the kernels, in float32, against the same network on LibTorch's operations, which
// it runs on in float64. Widths from 32 on, so that every kernel has a part.
#include <gtest/gtest.h>
#include <torch/optim/adam.h>

#include "tests/support/tiny_unet.h"
#include "tweedie/nn/network_plan.h"
#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

using testing::tiny_unet;

UNetOptions plain() {
  UNetOptions o = tiny_unet(3, {32, 64});
  o.norm_num_groups = 8;
  o.num_class_embeds = 5;
  return o;
}

UNetOptions resampled_by_resnets() {
  UNetOptions o = plain();
  o.down_block_types = {"ResnetDownsampleBlock2D", "AttnDownBlock2D"};
  o.up_block_types = {"AttnUpBlock2D", "ResnetUpsampleBlock2D"};
  o.downsample_type = o.upsample_type = "resnet";
  o.resnet_time_scale_shift = "scale_shift";
  o.attention_head_dim = 24;  // does not divide the width
  return o;
}

UNetOptions skipping() {
  UNetOptions o = plain();
  o.down_block_types = {"SkipDownBlock2D", "AttnSkipDownBlock2D"};
  o.up_block_types = {"AttnSkipUpBlock2D", "SkipUpBlock2D"};
  o.time_embedding_type = "fourier";
  o.norm_num_groups.reset();
  return o;
}

UNetOptions with_mish() {
  UNetOptions o = plain();
  o.act_fn = "mish";
  o.in_channels = o.out_channels = 1;
  return o;
}

Tensor noise(at::IntArrayRef size, uint64_t seed = 1) {
  return at::randn(size, at::detail::createCPUGenerator(seed));
}

double distance(const Tensor& a, const Tensor& exact) {
  return (a.to(at::kDouble) - exact).norm().item<double>() / exact.norm().item<double>();
}

// The bias of the keys adds the same to all scores of a query: its gradient is zero.
bool is_ignored(const std::string& name) { return name.find("to_k.bias") != std::string::npos; }

// The same network twice; ours by the plan for a large batch, which the tests do not need then.
struct Pair {
  explicit Pair(const UNetOptions& options, int64_t height = 8, int64_t width = 8)
      : ours(options, 7), exact(options, 7) {
    use_plan(ours, plan_by_rule(ours, height, width, /*batch=*/64));
    exact->to(at::kDouble);
  }
  UNet ours, exact;
};

const Tensor kTimes = at::tensor({3, 500, 999}), kClasses = at::tensor({0, 4, 2});

}  // namespace

TEST(UNetKernels, OutputAndGradientsAgreeWithFloat64) {
  for (const UNetOptions& o : {plain(), resampled_by_resnets(), skipping(), with_mish()})
    for (const int64_t height : {16, 10}) {
      SCOPED_TRACE(o.down_block_types[0] + " " + o.act_fn + " " + std::to_string(height));
      Pair nets(o, height, 16);
      const Tensor x = noise({3, o.in_channels, height, 16}), dy = noise(x.sizes(), 2);
      const Tensor y = nets.ours->forward(x, kTimes, kClasses);
      const Tensor exact = nets.exact->forward(x.to(at::kDouble), kTimes, kClasses);
      EXPECT_LT(distance(y, exact), 1e-5);
      {
        const at::NoGradGuard no_grad;
        const Tensor last = x.contiguous(at::MemoryFormat::ChannelsLast);
        for (const Tensor& same : {x, last, x.transpose(2, 3).contiguous().transpose(2, 3)})
          EXPECT_LT(distance(nets.ours->forward(same, kTimes, kClasses), exact), 1e-5);
      }
      y.backward(dy);
      exact.backward(dy.to(at::kDouble));
      const auto expected = nets.exact->named_parameters();
      for (const auto& item : nets.ours->named_parameters()) {
        if (!item.value().requires_grad() || is_ignored(item.key())) continue;
        EXPECT_LT(distance(item.value().grad(), expected[item.key()].grad()), 1e-4) << item.key();
      }
    }
}

TEST(UNetKernels, TrainingFollowsFloat64) {
  for (const UNetOptions& o : {plain(), resampled_by_resnets()}) {
    Pair nets(o);
    const Tensor x = noise({2, 3, 8, 8}), y = noise(x.sizes(), 2);
    const Tensor times = at::tensor({3, 999}), classes = at::tensor({0, 4});
    torch::optim::AdamOptions options(2e-3);
    torch::optim::Adam ours(nets.ours->parameters(), options);
    torch::optim::Adam exact(nets.exact->parameters(), options);
    const auto step = [&](UNet& net, torch::optim::Adam& optimiser, at::ScalarType type) {
      optimiser.zero_grad();
      const Tensor loss = (net->forward(x.to(type), times, classes) - y.to(type)).square().mean();
      loss.backward();
      optimiser.step();
      return loss.item<double>();
    };
    double first = 0, last = 0;
    for (int i = 0; i < 24; ++i) {
      last = step(nets.exact, exact, at::kDouble);
      if (i == 0) first = last;
      EXPECT_NEAR(step(nets.ours, ours, at::kFloat) / last, 1, 1e-4) << "step " << i;
    }
    EXPECT_LT(last, first / 3);
  }
}

// What the layers keep of their weights follows them.
TEST(UNetKernels, SeesWeightsThatChange) {
  Pair nets(plain());
  const Tensor x = noise({3, 3, 16, 16});
  const auto expect_same = [&](const char* what) {
    const at::NoGradGuard no_grad;
    const Tensor exact = nets.exact->forward(x.to(at::kDouble), kTimes, kClasses);
    for (int i = 0; i < 2; ++i)
      EXPECT_LT(distance(nets.ours->forward(x, kTimes, kClasses), exact), 1e-5) << what;
  };
  expect_same("as drawn");
  initialise(*nets.ours, 8), initialise(*nets.exact, 8);
  expect_same("drawn again");
  UNet other(plain(), 9);
  load_state(*nets.ours, state_of(*other), "test"),
      load_state(*nets.exact, state_of(*other), "test");
  expect_same("loaded");
  nets.ours->to(at::kDouble);
  initialise(*nets.ours, 10), initialise(*nets.exact, 10);
  nets.ours->to(at::kFloat);
  expect_same("converted there and back");
  const auto from = nets.exact->named_parameters();
  UNet swapped(plain(), 11);
  for (const auto& item : swapped->named_parameters()) {
    nets.ours->named_parameters()[item.key()].set_data(item.value().detach());
    from[item.key()].set_data(item.value().detach().to(at::kDouble));
  }
  expect_same("swapped");
}

}  // namespace tweedie

#include "tweedie/nn/layers.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tweedie/nn/embedding.h"
#include "tweedie/nn/fir.h"
#include "tweedie/nn/resnet.h"
#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

Tensor arange_4x4() { return at::arange(16, at::kFloat).view({1, 1, 4, 4}); }

void expect_values(const Tensor& actual, const std::vector<float>& expected, double tolerance) {
  EXPECT_TRUE(at::allclose(actual.flatten(), at::tensor(expected), 0, tolerance)) << actual;
}

struct Box : torch::nn::Module {
  template <class Holder>
  explicit Box(Holder layer) {
    register_module("layer", std::move(layer));
  }
};

}  // namespace

TEST(Layers, PointwiseConvolutionOfEveryLayout) {
  for (const auto& [in, out] : {std::pair<int64_t, int64_t>{1, 5}, {20, 33}, {16, 1}}) {
    Box box{Conv(in, out, 1, 1, 0)};
    initialise(box, 1);
    const Tensor w = state_of(box).at("layer.weight"), b = state_of(box).at("layer.bias");
    auto& conv = *box.modules(/*include_self=*/false).front()->as<ConvImpl>();
    for (const auto& [h, width] : {std::pair<int64_t, int64_t>{7, 6}, {1, 1}, {1, 9}}) {
      const Tensor x = at::randn({3, in, h, width}, at::detail::createCPUGenerator(2));
      const Tensor exact = at::conv2d(x.to(at::kDouble), w.to(at::kDouble), b.to(at::kDouble));
      const Tensor last =
          at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::ChannelsLast));
      for (const bool autograd : {true, false})
        for (const Tensor& same : {x, last.copy_(x), x.transpose(2, 3).contiguous().transpose(2, 3),
                                   at::cat({x, x}, 1).narrow(1, 0, in)}) {
          const at::AutoGradMode mode(autograd);
          EXPECT_TRUE(at::allclose(conv.forward(same).to(at::kDouble), exact, 1e-5, 1e-5));
        }
    }
  }
}

// The check values below were measured with diffusers 0.42.1.
TEST(Layers, FirDownOfARamp) {
  expect_values(fir_down(arange_4x4()), {2.734375, 3.9375, 7.546875, 8.75}, 1e-6);
}

TEST(Layers, FirUpKeepsAConstantInside) {
  const Tensor up = fir_up(at::ones({2, 3, 4, 5}));
  EXPECT_EQ(up.sizes(), at::IntArrayRef({2, 3, 8, 10}));
  const Tensor inside = up.slice(2, 1, -1).slice(3, 1, -1);
  EXPECT_TRUE(at::allclose(inside, at::ones_like(inside)));
}

TEST(Layers, DownsamplingPadsAllAroundOrRightAndBottom) {
  for (const int64_t padding : {0, 1}) {
    Downsample down(1, padding);
    load_state(*down, {{"conv.weight", at::ones({1, 1, 3, 3})}, {"conv.bias", at::zeros({1})}},
               "test");
    const std::vector<float> expected =
        padding == 0 ? std::vector<float>{45, 39, 66, 50} : std::vector<float>{10, 24, 51, 90};
    expect_values(down->forward(arange_4x4()), expected, 0);
  }
}

TEST(Layers, SinusoidOfSeven) {
  const Tensor t = at::tensor({7});
  expect_values(sinusoid(t, 8, /*flip_sin_to_cos=*/false, /*freq_shift=*/1),
                {.656987f, .319225f, .015080f, .000700f, .753902f, .947679f, .999886f, 1}, 1e-6);
  expect_values(sinusoid(t, 8, /*flip_sin_to_cos=*/true, /*freq_shift=*/0),
                {.753902f, .764842f, .997551f, .999976f, .656987f, .644218f, .069943f, .007000f},
                1e-6);
}

TEST(Layers, SinusoidKeepsFractionsAndFillsOddWidths) {
  EXPECT_NEAR(sinusoid(at::tensor({3.5}), 2, false, 0)[0][0].item<double>(), std::sin(3.5), 1e-6);
  const Tensor odd = sinusoid(at::tensor({3, 4}), 7, true, 0);
  EXPECT_EQ(odd.sizes(), at::IntArrayRef({2, 7}));
  EXPECT_EQ(odd.select(1, 6).abs().max().item<float>(), 0);
}

TEST(Layers, DrawsPyTorchsDistributions) {
  Box conv{Conv(16, 64, 3, 1, 1)};
  initialise(conv, 3);
  // kaiming_uniform with a = sqrt(5) and the bias rule: both uniform within 1/sqrt(16*3*3) = 1/12.
  for (const auto& [name, tensor] : state_of(conv)) {
    EXPECT_LE(tensor.abs().max().item<double>(), 1.0 / 12) << name;
    EXPECT_GT(tensor.abs().max().item<double>(), 0.9 / 12) << name;
  }
  const Tensor weight = state_of(conv).at("layer.weight");
  EXPECT_NEAR(weight.mean().item<double>(), 0, 3 * (1 / (12 * std::sqrt(3 * 9216.0))));
  EXPECT_NEAR(weight.std().item<double>(), 1 / (12 * std::sqrt(3.0)), 6e-4);

  Box table{Embedding(50, 80)};
  initialise(table, 3);
  EXPECT_NEAR(state_of(table).at("layer.weight").mean().item<double>(), 0, 0.05);
  EXPECT_NEAR(state_of(table).at("layer.weight").std().item<double>(), 1, 0.04);

  Box fourier{Fourier(4000)};
  initialise(fourier, 3);
  EXPECT_NEAR(state_of(fourier).at("layer.weight").std().item<double>(), 16, 0.7);
  EXPECT_FALSE(fourier.parameters()[0].requires_grad());

  Box norm{GroupNorm(2, 4, 1e-5)};
  norm.parameters()[0].detach().fill_(7);
  initialise(norm, 3);
  EXPECT_TRUE(at::equal(state_of(norm).at("layer.weight"), at::ones(4)));
  EXPECT_TRUE(at::equal(state_of(norm).at("layer.bias"), at::zeros(4)));
}

TEST(Layers, WeightsAreAFunctionOfTheSeed) {
  Box a{Linear(8, 8)}, b{Linear(8, 8)};
  const auto weight = [](Box& box) { return state_of(box).at("layer.weight"); };
  initialise(a, 1);
  initialise(b, 1);
  EXPECT_TRUE(at::equal(weight(a), weight(b)));
  initialise(b, 2);
  EXPECT_FALSE(at::equal(weight(a), weight(b)));
}

TEST(Layers, ConstructionLeavesTheGlobalGeneratorAlone) {
  at::manual_seed(5);
  const Tensor expected = at::randn(4);
  at::manual_seed(5);
  Box box{Conv(4, 4, 3, 1, 1)};
  initialise(box, 1);
  EXPECT_TRUE(at::equal(at::randn(4), expected));
}

}  // namespace tweedie

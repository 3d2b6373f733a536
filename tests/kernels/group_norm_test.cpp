#include "tweedie/kernels/group_norm.h"

#include "tests/kernels/support.h"

namespace tweedie {
namespace {

using namespace testing;  // NOLINT: the vocabulary of these tests

// A sum of n terms in float32 cannot hold 1e-6 whatever the order: then we are held to twice what
// LibTorch reaches on the same data.
constexpr double kTolerance = 1e-6, kOfStock = 2;

struct Shape {
  int64_t n, groups, per_group;
  std::vector<int64_t> pixels;
};

Case make(const Shape& s, bool silu, bool scale_shift, uint64_t seed = 1) {
  const int64_t channels = s.groups * s.per_group;
  std::vector<int64_t> sizes{s.n, channels};
  sizes.insert(sizes.end(), s.pixels.begin(), s.pixels.end());
  Case c{.what = formatted("[{}] in {}, silu {}, scale {}", fmt::join(sizes, ","), s.groups, silu,
                           scale_shift),
         .names = {"x", "weight", "bias", "scale", "shift"}};
  for (const std::vector<int64_t>& each :
       {sizes, {channels}, {channels}, {s.n, channels}, {s.n, channels}})
    c.inputs.push_back(noise(each, 10 * seed + c.inputs.size()));
  if (!scale_shift) c.inputs[3] = c.inputs[4] = Tensor();
  c.dy = noise(sizes, 10 * seed + 9);
  c.ours = [groups = s.groups, silu](const Tensors& t) {
    return group_norm(t[0], {groups, 1e-5, t[1], t[2], silu, t[3], t[4]});
  };
  c.reference = [groups = s.groups, silu](const Tensors& t) {
    Tensor y = at::group_norm(t[0], groups, t[1], t[2], 1e-5);
    if (t[3].defined())
      y = (y.flatten(2) * (1 + t[3].unsqueeze(-1)) + t[4].unsqueeze(-1)).view_as(y);
    return silu ? at::silu(y) : y;
  };
  return c;
}

const Shape kSmall{3, 4, 5, {6, 7}};

}  // namespace

TEST(GroupNorm, AgreesWithFloat64OverRandomShapesAndLayouts) {
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    const Shape s{
        pick(rng, 1, 3), pick(rng, 1, 12), pick(rng, 1, 12), {pick(rng, 1, 20), pick(rng, 1, 20)}};
    Case c = make(s, i % 2, i / 2 % 2, i);
    c.relayout(rng);
    expect_agreement(c, kTolerance, kOfStock);
  }
}

TEST(GroupNorm, LongSums) {
  for (const Shape& s :
       {Shape{1, 2, 16, {96, 96}}, {2, 32, 4, {32, 32}}, {1, 1, 24, {50, 61}}, {1, 3, 160, {9, 9}}})
    for (const bool silu : {false, true})
      expect_agreement(make(s, silu, silu), kTolerance, kOfStock);
}

TEST(GroupNorm, HugeTinyAndZeroMagnitudes) {
  for (const bool silu : {false, true})
    for (const double factor : {1e15, 1e4, 1e-3, 1e-8, 1e-25, 1e-40, 0.0}) {
      Case c = make(kSmall, silu, true);
      c.inputs[0] = c.inputs[0] * factor;
      c.what += formatted(", x times {}", factor);
      expect_agreement(c, kTolerance, kOfStock);
      c = make(kSmall, silu, true);
      c.dy = c.dy * factor;
      c.what += formatted(", dy times {}", factor);
      // What float32 rounds to a denormal is all that remains.
      expect_agreement(c, factor > 0 && factor < 1e-30 ? 1e-4 : kTolerance, kOfStock);
    }
}

TEST(GroupNorm, ALargeMeanCancelsNothing) {
  Case c = make({2, 4, 8, {24, 24}}, false, false);
  c.inputs[0] = c.inputs[0] + 1000;
  // float32 holds 1000 + noise to 6e-5, which the reference is given too.
  expect_agreement(c, 2e-5, kOfStock);
}

TEST(GroupNorm, SiluFarFromZero) {
  for (const double factor : {1e2, 1e4, 1e30}) {
    Case c = make(kSmall, true, false);
    c.inputs[1] = c.inputs[1] * factor;
    expect_agreement(c, kTolerance, kOfStock);
  }
}

TEST(GroupNorm, ANaNSpoilsItsGroupAlone) {
  const Shape s{2, 4, 16, {6, 6}};
  const int64_t per_group = s.per_group;
  for (const bool silu : {false, true}) {
    Case c = make(s, silu, true);
    c.inputs[0][1][per_group + 3][2][2] = std::nan("");
    const Derived d = differentiate(c.ours, c.inputs, c.dy);
    for (const Tensor& t : {d.y, d.gradients[0]}) {
      EXPECT_TRUE(t[1].narrow(0, per_group, per_group).isnan().all().item<bool>());
      EXPECT_EQ(t.isnan().sum().item<int64_t>(), per_group * 36);
    }
    EXPECT_EQ(d.gradients[1].isnan().sum().item<int64_t>(), per_group);
  }
}

TEST(GroupNorm, ANaNOfAParameterSpoilsItsChannel) {
  for (const bool silu : {false, true})
    for (const size_t i : {1, 2, 3, 4}) {
      Case c = make(kSmall, silu, true);
      c.inputs[i].flatten()[7] = std::nan("");
      const Tensor y = c.ours(c.inputs);
      EXPECT_TRUE(y[0][7].isnan().all().item<bool>()) << c.names[i];
      EXPECT_EQ(y.isnan().sum().item<int64_t>(), 42 * (i < 3 ? 3 : 1)) << c.names[i];
    }
}

TEST(GroupNorm, ANaNOfTheGradientSpoilsItsGroup) {
  for (const bool silu : {false, true}) {
    Case c = make(kSmall, silu, false);
    c.dy[2][11][0][3] = std::nan("");
    const Tensor dx = differentiate(c.ours, c.inputs, c.dy).gradients[0];
    EXPECT_TRUE(dx[2].narrow(0, 10, 5).isnan().all().item<bool>());
    EXPECT_EQ(dx.isnan().sum().item<int64_t>(), 5 * 42);
  }
}

TEST(GroupNorm, AnImageDoesNotDependOnItsBatchNorTheResultOnTheThreads) {
  for (const bool silu : {false, true}) {
    expect_independence(make({5, 4, 8, {9, 7}}, silu, silu));
    expect_independence(make({3, 2, 40, {40, 33}}, silu, !silu));
  }
}

TEST(GroupNorm, EachGradientAlone) {
  expect_each_gradient_alone(make(kSmall, true, true), 1e-5);
  expect_each_gradient_alone(make(kSmall, false, false), 1e-5);
}

TEST(GroupNorm, TakesAGradientThatIsOneNumber) {
  Case c = make(kSmall, true, true);
  c.dy = at::ones({}).expand(c.dy.sizes());
  expect_agreement(c, kTolerance, kOfStock);
}

TEST(GroupNorm, SecondDerivatives) {
  Rng rng(2);
  for (int i = 0; i < 8; ++i) {
    Case c = make({2, 3, 4, {3, 4}}, i % 2, i / 2 % 2, i);
    if (i >= 4) c.relayout(rng);
    expect_finite_differences(c);
    expect_finite_differences(second_derivatives(c));
    expect_agreement(second_derivatives(c), 1e-5);
  }
}

TEST(GroupNorm, WhatTheKernelIsNotForGoesToLibTorch) {
  for (const std::vector<int64_t>& pixels : std::vector<std::vector<int64_t>>{{}, {5}, {2, 3, 4}}) {
    const Case c = make({2, 3, 4, pixels}, true, false);
    EXPECT_TRUE(at::equal(c.ours(c.inputs), c.reference(c.inputs)));
    expect_agreement(c, 1e-5);
  }
  const Case c = make(kSmall, true, true);
  for (const auto type : {at::kDouble, at::kBFloat16}) {
    Tensors converted = c.inputs;
    for (Tensor& t : converted) t = t.to(type);
    const Tensor y = c.ours(converted);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_LT(distance(y, c.reference(c.inputs)), 0.02);
  }
  Tensors none = c.inputs;
  for (const size_t i : {0, 3, 4}) none[i] = none[i].narrow(0, 0, 0);
  EXPECT_EQ(c.ours(none).sizes(), none[0].sizes());
}

}  // namespace tweedie

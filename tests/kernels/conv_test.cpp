#include "tweedie/kernels/conv.h"

#include "tests/kernels/support.h"

namespace tweedie {
namespace {

using namespace testing;  // NOLINT: the vocabulary of these tests

constexpr double kTolerance = 2e-5;  // relative L2: what Winograd's transforms lose

struct Shape {
  int64_t n, c, k, h, w;  // of the input, `beside` included
};

struct Around {
  bool bias = true, norm = false, silu = false, scale_shift = false, upsample = false,
       image_bias = false, residual = false;
  int64_t groups = 1, beside = 0;  // channels of `beside`
};

enum Input { kX, kWeight, kBias, kImageBias, kResidual, kGamma, kBeta, kScale, kShift, kBeside };

std::string describe(const Shape& s, const Around& a) {
  std::string out = formatted("{}x{}->{} {}x{}", s.n, s.c, s.k, s.h, s.w);
  for (const auto& [is, name] : {std::pair{a.bias, " bias"},
                                 {a.norm, " norm"},
                                 {a.silu, " silu"},
                                 {a.scale_shift, " scale_shift"},
                                 {a.upsample, " upsample"},
                                 {a.image_bias, " image_bias"},
                                 {a.residual, " residual"},
                                 {a.beside > 0, " beside"}})
    if (is) out += name;
  return out;
}

Case make(const Shape& s, const Around& a = {}, uint64_t seed = 1) {
  const int64_t scale = a.upsample ? 2 : 1;
  const std::vector<int64_t> sizes{s.n, s.k, scale * s.h, scale * s.w};
  Case c{.what = describe(s, a),
         .names = {"x", "weight", "bias", "image_bias", "residual", "gamma", "beta", "scale",
                   "shift", "beside"}};
  const auto add = [&](bool is, at::IntArrayRef of) {
    c.inputs.push_back(is ? noise(of, 10 * seed + c.inputs.size()) : Tensor());
  };
  add(true, {s.n, s.c - a.beside, s.h, s.w}), add(true, {s.k, s.c, 3, 3}), add(a.bias, {s.k});
  add(a.image_bias, {s.n, s.k}), add(a.residual, sizes), add(a.norm, {s.c}), add(a.norm, {s.c});
  add(a.scale_shift, {s.n, s.c}), add(a.scale_shift, {s.n, s.c});
  add(a.beside > 0, {s.n, a.beside, s.h, s.w});
  c.dy = noise(sizes, 10 * seed + 9);
  // By the rule without autograd, which asks for no number of tiles.
  const ConvShape shape{s.c, s.k, scale * s.h, scale * s.w};
  const auto plans = std::make_shared<ConvPlans>(ConvPlans{{shape, plan_conv3x3(shape)}});
  c.ours = [a, plans](const Tensors& t) {
    ConvExtras e{.beside = t[kBeside],
                 .upsample = a.upsample,
                 .image_bias = t[kImageBias],
                 .residual = t[kResidual],
                 .plans = plans.get()};
    if (a.norm) e.norm = {a.groups, 1e-5, t[kGamma], t[kBeta], a.silu, t[kScale], t[kShift]};
    return conv3x3(t[kX], t[kWeight], t[kBias], e);
  };
  c.reference = [a](const Tensors& t) {
    Tensor h = a.beside > 0 ? at::cat({t[kX], t[kBeside]}, 1) : t[kX];
    const auto over_pixels = [](const Tensor& of) { return of.unsqueeze(-1).unsqueeze(-1); };
    if (a.norm) h = at::group_norm(h, a.groups, t[kGamma], t[kBeta], 1e-5);
    if (a.scale_shift) h = h * (1 + over_pixels(t[kScale])) + over_pixels(t[kShift]);
    if (a.silu) h = at::silu(h);
    if (a.upsample) h = h.repeat_interleave(2, 2).repeat_interleave(2, 3);
    Tensor y = at::conv2d(h, t[kWeight], t[kBias], 1, 1);
    if (a.image_bias) y = y + over_pixels(t[kImageBias]);
    return a.residual ? y + t[kResidual] : y;
  };
  return c;
}

// The filter without gaps.
void relayout(Case& c, Rng& rng) {
  c.relayout(rng);
  c.inputs[kWeight] = in_layout(c.inputs[kWeight].contiguous(), pick(rng, 0, 2));
}

// Every combination of what may be around the convolution, every third with an input of two parts.
std::vector<Around> combinations() {
  std::vector<Around> out;
  for (int i = 0; i < 16; ++i)
    for (const Around& norm : {Around{},
                               {.norm = true},
                               {.norm = true, .silu = true},
                               {.norm = true, .scale_shift = true},
                               {.norm = true, .silu = true, .scale_shift = true}}) {
      Around a = norm;
      a.bias = i & 1, a.upsample = i & 2, a.image_bias = i & 4, a.residual = i & 8;
      if (out.size() % 3 == 1) a.beside = 1;
      out.push_back(a);
    }
  return out;
}

const Around kAll{.norm = true,
                  .silu = true,
                  .scale_shift = true,
                  .image_bias = true,
                  .residual = true,
                  .groups = 4};
const Around kJoined{.norm = true, .silu = true, .residual = true, .groups = 2, .beside = 7};
Around upsampled(Around a = kAll) {
  a.upsample = true;
  return a;
}
const Shape kOdd{3, 20, 33, 7, 5};  // no width is a multiple of a vector, no side one of a tile

}  // namespace

TEST(Conv3x3, PlainOverRandomShapesAndLayouts) {
  Rng rng(1);
  for (int i = 0; i < 100; ++i) {
    Case c = make(
        {pick(rng, 1, 3), pick(rng, 1, 70), pick(rng, 1, 70), pick(rng, 1, 20), pick(rng, 1, 20)},
        {}, i);
    relayout(c, rng);
    expect_agreement(c, kTolerance);
  }
}

TEST(Conv3x3, EveryCombinationOverRandomShapesAndLayouts) {
  Rng rng(2);
  for (int round = 0; round < 3; ++round)
    for (Around a : combinations()) {
      a.groups = pick(rng, 1, 6);
      const int64_t c = a.groups * pick(rng, 16 / a.groups, 40 / a.groups);
      if (a.beside > 0) a.beside = pick(rng, 1, c - 1);
      Case of = make({pick(rng, 1, 3), c, pick(rng, 14, 40), pick(rng, 1, 11), pick(rng, 1, 11)}, a,
                     rng.bits());
      relayout(of, rng);
      expect_agreement(of, kTolerance);
    }
}

// More tiles than a block takes, more channels than a chunk, rows of matrices that are multiples of
// a page; from one tile up.
TEST(Conv3x3, FewAndManyTilesAndChannels) {
  for (const Shape& s : {Shape{4, 16, 20, 33, 30},
                         {1, 16, 140, 81, 78},
                         {2, 256, 300, 9, 8},
                         {1, 512, 256, 5, 5},
                         {7, 16, 290, 4, 5},
                         {1, 130, 16, 1, 17}})
    for (const Around& a : {Around{}, kAll, kJoined}) {
      Around grouped = a;
      grouped.groups = 2;
      expect_agreement(make(s, grouped), kTolerance);
    }
  for (const Shape& s : {Shape{1, 16, 140, 41, 39}, {1, 256, 260, 3, 4}, {5, 32, 48, 7, 5}})
    expect_agreement(make(s, upsampled()), kTolerance);
}

TEST(Conv3x3, HugeTinyAndZeroMagnitudes) {
  const Around plain{.image_bias = true, .residual = true};
  for (const double factor : {1e12, 1e-15, 1e-28, 0.0}) {
    for (const Input i : {kX, kWeight})
      for (const Around& a : {plain, upsampled(plain)}) {
        Case c = make(kOdd, a);
        c.inputs[i] = c.inputs[i] * factor;
        c.what += formatted(", {} times {}", c.names[i], factor);
        expect_agreement(c, kTolerance);
      }
    Case c = make(kOdd, kAll);
    c.dy = c.dy * factor;
    c.what += formatted(", dy times {}", factor);
    expect_agreement(c, kTolerance);
  }
  const Case c = make(kOdd, {.bias = false});
  const Tensor denormal = conv3x3(at::full_like(c.inputs[kX], 1e-40), c.inputs[kWeight], {});
  EXPECT_LT(denormal.abs().max().item<float>(), 1e-36);
  EXPECT_EQ(conv3x3(at::zeros_like(c.inputs[kX]), c.inputs[kWeight], {}).abs().max().item<float>(),
            0);
}

TEST(Conv3x3, ANaNStaysANaNAndReachesItsNeighboursAlone) {
  Tensor x = at::zeros({1, 16, 24, 24});
  x[0][3][12][12] = std::nan("");
  const Tensor y = conv3x3(x, noise({16, 16, 3, 3}, 1), {});
  EXPECT_TRUE(y.narrow(2, 11, 3).narrow(3, 11, 3).isnan().all().item<bool>());
  // The tiles that see it are spoilt, no others.
  EXPECT_TRUE(y.narrow(2, 0, 8).isfinite().all().item<bool>());
  EXPECT_TRUE(y.narrow(3, 20, 4).isfinite().all().item<bool>());
}

TEST(Conv3x3, ANaNOfAnyInputIsNotLost) {
  for (const Around& a : {kAll, upsampled(), kJoined})
    for (size_t i = 0; i <= kBeside; ++i) {
      Case c = make(kOdd, a);
      if (!c.inputs[i].defined()) continue;
      c.inputs[i].flatten()[5] = std::nan("");
      const Derived d = differentiate(c.ours, c.inputs, c.dy);
      EXPECT_TRUE(d.y.isnan().any().item<bool>()) << c.names[i];
      const Derived stock = differentiate(c.reference, c.inputs, c.dy);
      for (size_t j = 0; j < c.inputs.size(); ++j) {  // nowhere a number where LibTorch has none
        if (!c.inputs[j].defined()) continue;
        EXPECT_FALSE(
            stock.gradients[j].isnan().logical_and(~d.gradients[j].isnan()).any().item<bool>())
            << c.names[i] << " in the gradient of " << c.names[j];
      }
    }
}

TEST(Conv3x3, AnImageDoesNotDependOnItsBatchNorTheResultOnTheThreads) {
  for (const Around& a : {Around{}, kAll, upsampled(), kJoined}) {
    expect_independence(make({5, 40, 33, 14, 14}, a));
    expect_independence(make({2, 16, 140, 44, 37}, a));
  }
}

TEST(Conv3x3, WithoutAutogradTheSameBits) {
  for (const Around& a : combinations()) {
    const Case c = make(kOdd, a);
    const Tensor with = c.ours(c.inputs);
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(at::equal(c.ours(c.inputs), with)) << c.what;
  }
}

TEST(Conv3x3, TakesAGradientThatIsOneNumber) {
  for (const Around& a : {Around{}, kAll, upsampled()}) {
    Case c = make(kOdd, a);
    c.dy = at::ones({}).expand(c.dy.sizes());
    expect_agreement(c, kTolerance);
  }
}

TEST(Conv3x3, EachGradientAlone) {
  for (const Around& a : {Around{}, kAll, upsampled(), kJoined})
    expect_each_gradient_alone(make(kOdd, a), 1e-5);
}

TEST(Conv3x3, FiniteDifferencesInFloat64) {
  for (const Around& a : combinations()) {
    const Case c = make({2, 4, 3, 3, 2}, a);
    expect_finite_differences(c);
    expect_finite_differences(second_derivatives(c));
  }
}

TEST(Conv3x3, SecondDerivatives) {
  Rng rng(3);
  for (const Around& a : combinations()) {
    Case c = make({2, 16, 17, 3, 6}, a);
    relayout(c, rng);
    expect_agreement(second_derivatives(c), kTolerance);
  }
}

TEST(Conv3x3, OneChannelWhoseStridesSayBothLayouts) {
  const Tensor x = noise({2, 1, 9, 8}, 1), w = noise({16, 1, 3, 3}, 2);
  const Tensor last =
      at::empty(x.sizes(), x.options().memory_format(at::MemoryFormat::ChannelsLast)).copy_(x);
  ASSERT_EQ(last.stride(3), 1);
  for (const bool upsample : {false, true}) {
    const ConvExtras e{.upsample = upsample};
    EXPECT_TRUE(at::allclose(conv3x3(last, w, {}, e), conv3x3(x, w, {}, e), 1e-5, 1e-6));
    EXPECT_LT(distance(conv3x3(last, w, {}, e), conv3x3(in_float64(x), in_float64(w), {}, e)),
              1e-6);
  }
  const Tensor back = noise({1, 16, 3, 3}, 3), wide = noise({2, 16, 9, 8}, 4);
  for (const Tensor& t : {wide, channels_last(wide)})
    EXPECT_LT(distance(conv3x3(t, back, {}), at::conv2d(in_float64(t), in_float64(back), {}, 1, 1)),
              1e-6);
}

TEST(Conv3x3, OnePixelWhoseStridesSayBothLayouts) {
  for (const Shape& s : {Shape{3, 32, 32, 1, 1}, {1, 32, 32, 1, 40}, {1, 32, 32, 40, 1}})
    for (const Around& a : {kAll, upsampled()}) {
      Case c = make(s, a);
      expect_agreement(c, kTolerance);
      for (const Input i : {kX, kResidual}) c.inputs[i] = channels_last(c.inputs[i]);
      expect_agreement(c, kTolerance);
    }
}

TEST(Conv3x3, WhatThePlanLeavesGoesToTheStockConvolution) {
  EXPECT_EQ(plan_conv3x3({128, 128, 32, 32}), ConvPlan::kWinograd);
  EXPECT_EQ(plan_conv3x3({3, 128, 32, 32}), ConvPlan::kStock);
  EXPECT_EQ(plan_conv3x3({256, 256, 3, 3}), ConvPlan::kStock);
  Rng rng(4);
  for (const Shape& s :
       {Shape{2, 3, 16, 8, 8}, {2, 16, 3, 7, 9}, {1, 1, 1, 5, 5}, {2, 36, 40, 2, 2}})
    for (Around a : combinations()) {
      a.groups = s.c % 4 == 0 ? 4 : 1;
      if (s.c == 1) a.beside = 0;
      Case c = make(s, a);
      relayout(c, rng);
      expect_agreement(c, 1e-5);
    }
  const Tensor x = noise({2, 3, 8, 8}, 1), w = noise({16, 3, 3, 3}, 2);
  EXPECT_TRUE(at::equal(conv3x3(x, w, {}), at::conv2d(x, w, {}, 1, 1)));
  const Case c = make(kOdd, kAll);
  for (const auto type : {at::kDouble, at::kBFloat16}) {
    Tensors converted = c.inputs;
    for (Tensor& t : converted)
      if (t.defined()) t = t.to(type);
    const Tensor y = c.ours(converted);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_LT(distance(y, c.reference(c.inputs)), 0.03);
  }
  EXPECT_EQ(conv3x3(at::empty({0, 20, 7, 5}), c.inputs[kWeight], {}).sizes(),
            at::IntArrayRef({0, 33, 7, 5}));
}

}  // namespace tweedie

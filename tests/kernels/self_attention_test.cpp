#include "tweedie/kernels/self_attention.h"

#include "tests/kernels/support.h"
#include "tweedie/kernels/attention.h"

namespace tweedie {
namespace {

using namespace testing;  // NOLINT: the vocabulary of these tests

// What softmax makes of the rounding of the scores exceeds 1e-6 where they are large: then we are
// held to twice what LibTorch's own attention reaches in float32 on the same data.
constexpr double kTolerance = 1e-6, kOfStock = 2;

struct Shape {
  int64_t n, tokens, heads, dim;
};

// [N,tokens,3*heads*dim] -> queries, keys and values, each [N,heads,tokens,dim].
Tensors parts_of(const Tensor& qkv, int64_t heads) {
  return qkv.unflatten(2, {3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind();
}

Case make(const Shape& s, uint64_t seed = 1, double factor = 1) {
  Case c{.what = formatted("[{},{},{}x{}] times {}", s.n, s.tokens, s.heads, s.dim, factor),
         .names = {"qkv"}};
  c.inputs = {noise({s.n, s.tokens, 3 * s.heads * s.dim}, 2 * seed) * factor};
  c.dy = noise({s.n, s.tokens, s.heads * s.dim}, 2 * seed + 1);
  c.ours = [=](const Tensors& t) { return self_attention(t[0], s.heads); };
  c.reference = [=](const Tensors& t) {  // Vaswani et al. 2017, Eq. 1
    const Tensors p = parts_of(t[0], s.heads);
    const Tensor scores = at::matmul(p[0], p[1].transpose(-1, -2)) / std::sqrt(double(s.dim));
    return at::matmul(at::softmax(scores, -1), p[2]).transpose(1, 2).flatten(2);
  };
  c.stock = [=](const Tensors& t) {
    const Tensors p = parts_of(t[0], s.heads);
    return at::scaled_dot_product_attention(p[0], p[1], p[2]).transpose(1, 2).flatten(2);
  };
  return c;
}

}  // namespace

// Vaswani et al. 2017, Eq. 1
TEST(SelfAttention, AgreesWithFloat64OverRandomShapesAndLayouts) {
  Rng rng(1);
  for (int i = 0; i < 150; ++i) {
    Case c = make({pick(rng, 1, 3), pick(rng, 1, 100), pick(rng, 1, 4), pick(rng, 1, 40)}, i);
    c.relayout(rng);
    expect_agreement(c, kTolerance, kOfStock);
  }
}

TEST(SelfAttention, UsualWidthsAndTokensAroundAPanel) {
  for (const int64_t dim : {1, 8, 40, 64, 80, 256})
    for (const int64_t tokens : {1, 2, 31, 32, 33, 64, 97})
      expect_agreement(make({2, tokens, 2, dim}), kTolerance, kOfStock);
  expect_agreement(make({1, 1024, 1, 64}), kTolerance, kOfStock);
}

// The operation in inference keeps nothing.
TEST(SelfAttention, WithoutAutogradTheSameBits) {
  const Case c = make({2, 45, 3, 10});
  const Tensor with = differentiate(c.ours, c.inputs, c.dy).y;
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(c.ours(c.inputs), with));
}

TEST(SelfAttention, OneTokenIsItsValue) {
  const Case c = make({3, 1, 2, 8});
  EXPECT_TRUE(at::allclose(c.ours(c.inputs), c.inputs[0].narrow(2, 32, 16), 1e-6, 0));
}

// Where the rounding of a score shows, more so on a machine that rounds products and sums apart.
TEST(SelfAttention, LargeScores) {
  constexpr double kOfStockLarge = 1.5 * kOfStock;
  for (const double factor : {10.0, 30.0, 1e2})  // scores up to some 1e4
    for (const Shape& s : {Shape{2, 40, 2, 16}, {1, 70, 1, 64}})
      expect_agreement(make(s, 1, factor), kTolerance, kOfStockLarge);
  // Equal scores share equally, however large.
  for (const float q : {1e2f, -1e2f}) {
    Case c = make({1, 40, 1, 1});
    c.inputs[0].select(2, 0).fill_(q), c.inputs[0].select(2, 1).fill_(1e2f);
    const Tensor mean = c.inputs[0].select(2, 2).mean();
    EXPECT_TRUE(at::allclose(c.ours(c.inputs), mean.expand({1, 40, 1}), 1e-5, 1e-6));
    expect_agreement(c, kTolerance, kOfStockLarge);
  }
}

// Then one score takes all, and the result is its value.
TEST(SelfAttention, HugeScores) {
  Case c = make({2, 40, 2, 16}, 1, 1e4);
  const Derived d = differentiate(c.ours, c.inputs, c.dy);
  EXPECT_LT(distance(d.y, c.reference({in_float64(c.inputs[0])})), kTolerance);
  EXPECT_TRUE(d.gradients[0].isfinite().all().item<bool>());
}

TEST(SelfAttention, TinyAndZeroMagnitudes) {
  for (const double factor : {1e-3, 1e-12, 1e-25, 0.0})
    expect_agreement(make({2, 40, 2, 16}, 1, factor), kTolerance, kOfStock);
  for (const double factor : {1e12, 1e-12, 1e-25, 0.0}) {
    Case c = make({2, 40, 2, 16});
    c.dy = c.dy * factor;
    expect_agreement(c, kTolerance, kOfStock);
  }
  const Tensor y = self_attention(at::full({1, 40, 24}, 1e-40), 1);
  EXPECT_LE(y.abs().max().item<float>(), 1.1e-40);
}

TEST(SelfAttention, AnInfiniteScoreIsNotSilent) {
  Case c = make({1, 40, 1, 4});
  c.inputs[0][0][5][1] = INFINITY;
  EXPECT_TRUE(c.ours(c.inputs)[0][5].isnan().all().item<bool>());
}

// And no further: what a thread's memory holds from before does not count.
TEST(SelfAttention, ANanInTheGradientReachesItsHeadOnly) {
  for (const int64_t tokens : {5, 20, 40, 61}) {
    Case c = make({2, tokens, 2, 4});
    const Tensor before = differentiate(c.ours, c.inputs, c.dy).gradients[0];
    const Tensor dy = c.dy.clone();
    dy[1][3].narrow(0, 4, 4).fill_(std::nan(""));  // of the second image the second head
    const Tensor with = differentiate(c.ours, c.inputs, dy).gradients[0];
    const Tensors parts = parts_of(with, 2), clean = parts_of(before, 2);
    EXPECT_TRUE(parts[0][1][1][3].isnan().all().item<bool>());
    for (const int i : {1, 2}) EXPECT_TRUE(parts[i][1][1].isnan().all().item<bool>());
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(at::equal(parts[i][0], clean[i][0]));
      EXPECT_TRUE(at::equal(parts[i][1][0], clean[i][1][0]));
    }
    EXPECT_TRUE(at::equal(differentiate(c.ours, c.inputs, c.dy).gradients[0], before));
  }
}

TEST(SelfAttention, AnImageDoesNotDependOnItsBatchNorTheResultOnTheThreads) {
  expect_independence(make({5, 45, 3, 20}));
  expect_independence(make({2, 130, 1, 64}));
}

TEST(SelfAttention, TakesAGradientThatIsOneNumber) {
  Case c = make({2, 40, 2, 16});
  c.dy = at::ones({}).expand(c.dy.sizes());
  expect_agreement(c, kTolerance, kOfStock);
}

TEST(SelfAttention, WhatTheKernelIsNotForGoesToLibTorch) {
  const Case c = make({2, 20, 2, 8});
  for (const auto type : {at::kDouble, at::kBFloat16}) {
    const Tensor y = self_attention(c.inputs[0].to(type), 2);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_LT(distance(y, c.reference(c.inputs)), 0.02);
  }
  EXPECT_EQ(self_attention(at::empty({0, 20, 48}), 2).sizes(), at::IntArrayRef({0, 20, 16}));
  EXPECT_THROW(self_attention(c.inputs[0], 5), c10::Error);
  EXPECT_THROW(self_attention(c.inputs[0][0], 2), c10::Error);
}

// Tokens apart in memory, and parts cut anyhow.
TEST(AttentionKernel, StridesAndPartsChangeNothing) {
  const kernels::AttentionShape s{2, 3, 45, 7};
  const auto run = [&](int64_t gap, const kernels::ParallelFor& parallel) {
    const int64_t inner = s.heads * s.dim, stride = inner + gap;
    const auto tokens = [&](uint64_t seed) {
      const Tensor t = at::full({s.n, s.tokens, stride}, std::nan(""));
      if (seed) t.narrow(2, 0, inner).copy_(noise({s.n, s.tokens, inner}, seed));
      return t;
    };
    const Tensor q = tokens(1), k = tokens(2), v = tokens(3), dout = tokens(4);
    const Tensor out = tokens(0), dq = tokens(0), dk = tokens(0), dv = tokens(0);
    const Tensor logsumexp = at::empty({s.n, s.heads, s.tokens});
    const auto in = [&](const Tensor& t) {
      return kernels::Tokens<const float>{t.data_ptr<float>(), stride};
    };
    const auto to = [&](const Tensor& t) {
      return kernels::Tokens<float>{t.data_ptr<float>(), stride};
    };
    kernels::attention(s, in(q), in(k), in(v), to(out), logsumexp.data_ptr<float>(), parallel);
    kernels::attention_backward(s, in(q), in(k), in(v), in(out), logsumexp.data_ptr<float>(),
                                in(dout), {to(dq), to(dk), to(dv)}, parallel);
    const Tensor all = at::stack({out, dq, dk, dv});
    EXPECT_TRUE(all.narrow(3, inner, gap).isnan().all().item<bool>()) << "only tokens are written";
    return all.narrow(3, 0, inner);
  };
  const Tensor plain = run(0, in_one_part);
  EXPECT_TRUE(plain.isfinite().all().item<bool>());
  EXPECT_TRUE(at::equal(run(5, in_two_parts), plain));
  EXPECT_TRUE(at::equal(run(1, in_many_parts), plain));
}

}  // namespace tweedie

#include "tweedie/kernels/conv.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <mutex>
#include <set>
#include <thread>

#include "tweedie/core/error.h"
#include "tweedie/core/rng.h"
#include "tweedie/kernels/parallel.h"

namespace tweedie {
namespace {

constexpr double kWinogradTolerance = 2e-5;  // relative L2

struct Shape {
  int64_t n, c, k, h, w;
};

Tensor noise(at::IntArrayRef sizes, uint64_t seed) {
  Tensor out = at::empty(sizes);
  Rng(seed, stream_of("conv test")).fill_normal(out.data_ptr<float>(), out.numel());
  return out;
}

double distance(const Tensor& a, const Tensor& reference) {
  const double norm = reference.norm().item<double>();
  return (a.to(at::kDouble) - reference).norm().item<double>() / (norm > 0 ? norm : 1);
}

struct Result {
  Tensor y, dx, dw, db;
};

Result differentiate(Tensor x, Tensor w, Tensor b, const Tensor& dy, bool stock) {
  x = x.detach().requires_grad_(true), w = w.detach().requires_grad_(true);
  b = b.detach().requires_grad_(true);
  const Tensor y = stock ? at::conv2d(x, w, b, 1, 1) : conv3x3(x, w, b);
  y.backward(dy);
  return {y.detach(), x.grad(), w.grad(), b.grad()};
}

// Ours in float32 against the stock convolution in float64.
void expect_close(const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& dy,
                  const std::string& what) {
  const Result ours = differentiate(x, w, b, dy, false);
  const auto d = [](const Tensor& t) { return t.to(at::kDouble); };
  const Result plain = differentiate(d(x), d(w), d(b), d(dy), true);
  EXPECT_LT(distance(ours.y, plain.y), kWinogradTolerance) << what;
  EXPECT_LT(distance(ours.dx, plain.dx), kWinogradTolerance) << what;
  EXPECT_LT(distance(ours.dw, plain.dw), kWinogradTolerance) << what;
  EXPECT_LT(distance(ours.db, plain.db), 1e-6) << what;
}

}  // namespace

TEST(Threads, AreUsed) {
  at::set_num_threads(2);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  kernels::on_torch_threads(2, [&](int64_t, int64_t) {
    const std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(threads.size(), 2u);
}

TEST(Conv3x3, ForwardAndGradientsOverRandomShapes) {
  Rng rng(1, stream_of("shapes"));
  for (int i = 0; i < 60; ++i) {
    const Shape s{1 + int64_t(rng.below(3)), 16 + int64_t(rng.below(50)),
                  16 + int64_t(rng.below(50)), 1 + int64_t(rng.below(20)),
                  1 + int64_t(rng.below(20))};
    const auto seed = static_cast<uint64_t>(i) * 4;
    Tensor x = noise({s.n, s.c, s.h, s.w}, seed), w = noise({s.k, s.c, 3, 3}, seed + 1);
    const Tensor b = noise({s.k}, seed + 2), dy = noise({s.n, s.k, s.h, s.w}, seed + 3);
    if (i % 3 == 1) x = x.contiguous(at::MemoryFormat::ChannelsLast);
    if (i % 3 == 2) x = noise({s.n, s.c, s.w, s.h}, seed).transpose(2, 3);
    if (i % 2 == 1) w = w.contiguous(at::MemoryFormat::ChannelsLast);
    expect_close(x, w, b, dy, fmt::format("{}x{}->{} {}x{}", s.n, s.c, s.k, s.h, s.w));
  }
}

// More tiles than a block of the filter's gradient takes, more channels than a chunk of the output.
TEST(Conv3x3, SeveralBlocksOfTilesAndOfChannels) {
  for (const Shape& s : {Shape{4, 16, 20, 33, 30}, Shape{2, 256, 300, 9, 8}})
    expect_close(noise({s.n, s.c, s.h, s.w}, 1), noise({s.k, s.c, 3, 3}, 2), noise({s.k}, 3),
                 noise({s.n, s.k, s.h, s.w}, 4), fmt::format("{}x{}", s.n, s.c));
}

TEST(Conv3x3, HugeTinyAndZeroMagnitudes) {
  const Tensor x = noise({2, 32, 9, 10}, 1), w = noise({20, 32, 3, 3}, 2), b = noise({20}, 3);
  const Tensor dy = noise({2, 20, 9, 10}, 4);
  expect_close(x * 1e12, w * 1e-6, b, dy * 1e6, "huge");
  expect_close(x * 1e-15, w, b * 1e-15, dy * 1e-12, "tiny");
  expect_close(at::zeros_like(x), w, b, dy, "zero input");
  const Result zero = differentiate(x, at::zeros_like(w), at::zeros_like(b), dy, false);
  EXPECT_EQ(zero.y.abs().max().item<float>(), 0);
  const Tensor denormal = conv3x3(at::full_like(x, 1e-40), w, {});
  EXPECT_LT(denormal.abs().max().item<float>(), 1e-35);
}

TEST(Conv3x3, ANaNStaysANaNAndReachesItsNeighboursAlone) {
  Tensor x = at::zeros({1, 16, 24, 24});
  x[0][3][12][12] = std::nan("");
  const Tensor y = conv3x3(x, noise({16, 16, 3, 3}, 1), {});
  for (const int64_t place : {11, 12, 13}) EXPECT_TRUE(y[0][0][place][place].isnan().item<bool>());
  // The tiles that see it are spoilt, no others.
  EXPECT_TRUE(y.narrow(2, 0, 8).isfinite().all().item<bool>());
  EXPECT_TRUE(y.narrow(3, 20, 4).isfinite().all().item<bool>());
}

TEST(Conv3x3, AnImageDoesNotDependOnItsBatchNorTheResultOnTheThreads) {
  const Tensor x = noise({5, 40, 14, 14}, 1), w = noise({33, 40, 3, 3}, 2), b = noise({33}, 3);
  const Tensor dy = noise({5, 33, 14, 14}, 4);
  at::set_num_threads(1);
  const Result one = differentiate(x, w, b, dy, false);
  EXPECT_TRUE(at::equal(conv3x3(x.narrow(0, 3, 1), w, b), one.y.narrow(0, 3, 1)));
  at::set_num_threads(2);
  const Result two = differentiate(x, w, b, dy, false);
  EXPECT_TRUE(at::equal(one.y, two.y));
  EXPECT_TRUE(at::equal(one.dx, two.dx));
  EXPECT_TRUE(at::equal(one.dw, two.dw));
}

TEST(Conv3x3, GradientsAgreeWithFiniteDifferences) {
  // A convolution is linear in x and in w, so that a large step is exact but for rounding.
  const Tensor x = noise({1, 16, 6, 7}, 1), w = noise({16, 16, 3, 3}, 2),
               dy = noise({1, 16, 6, 7}, 3);
  const Result r = differentiate(x, w, at::zeros({16}), dy, false);
  const auto value = [&](const Tensor& xx, const Tensor& ww) {
    return (conv3x3(xx, ww, {}).to(at::kDouble) * dy).sum().item<double>();
  };
  for (int i = 0; i < 8; ++i) {
    const Tensor vx = noise(x.sizes(), 10 + i), vw = noise(w.sizes(), 20 + i);
    EXPECT_NEAR((value(x + vx, w) - value(x - vx, w)) / 2, (r.dx * vx).sum().item<double>(), 2e-2);
    EXPECT_NEAR((value(x, w + vw) - value(x, w - vw)) / 2, (r.dw * vw).sum().item<double>(), 2e-2);
  }
}

TEST(Conv3x3, SecondDerivativesAreThere) {
  const auto penalty = [](bool stock) {
    const Tensor x = noise({1, 16, 6, 6}, 1).requires_grad_(true);
    const Tensor w = noise({16, 16, 3, 3}, 2).requires_grad_(true);
    const Tensor y = (stock ? at::conv2d(x, w, {}, 1, 1) : conv3x3(x, w, {})).tanh().sum();
    const Tensor dx = torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true)[0];
    dx.square().sum().backward();
    return w.grad();
  };
  const Tensor stock = penalty(true);
  EXPECT_GT(stock.norm().item<double>(), 1);
  EXPECT_LT(distance(penalty(false), stock.to(at::kDouble)), 1e-4);
}

TEST(Conv3x3, WhatThePlanLeavesGoesToTheStockConvolution) {
  EXPECT_EQ(plan_conv3x3({128, 128, 32, 32}), ConvPlan::kWinograd);
  EXPECT_EQ(plan_conv3x3({3, 128, 32, 32}), ConvPlan::kStock);
  EXPECT_EQ(plan_conv3x3({256, 256, 4, 4}), ConvPlan::kStock);
  const Tensor x = noise({2, 3, 8, 8}, 1), w = noise({16, 3, 3, 3}, 2);
  EXPECT_TRUE(at::equal(conv3x3(x, w, {}), at::conv2d(x, w, {}, 1, 1)));
  const Tensor xd = x.to(at::kDouble), wd = w.to(at::kDouble);
  EXPECT_EQ(conv3x3(xd, wd, {}).scalar_type(), at::kDouble);
}

}  // namespace tweedie

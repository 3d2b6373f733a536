#include "tweedie/kernels/adamw.h"

#include <cmath>

#include "tests/kernels/support.h"

namespace tweedie::kernels {
namespace {

using at::Tensor;
using testing::in_many_parts;
using testing::in_one_part;
using testing::noise;

// Around a vector, around a chunk, and several chunks.
constexpr int64_t kSizes[] = {1, 7, 16, 17, 64, 0, 16383, 16384, 16385, 50001};

// Five arrays of each size: parameters, gradient, its means, the running mean.
struct Network {
  Network() {
    for (const int64_t n : kSizes) {
      p.push_back(noise({n}, 1)), first_g.push_back(noise({n}, 2) * 1e-2);
      g.push_back(first_g.back().clone());
      m.push_back(at::zeros({n})), v.push_back(at::zeros({n})), e.push_back(p.back().clone());
    }
  }

  // Another one for every k; none depends on the weights.
  Tensor gradient(size_t i, int64_t k) const { return first_g[i] * std::cos(double(k)); }
  void set_gradient(int64_t k) {
    for (size_t i = 0; i < g.size(); ++i) g[i].copy_(gradient(i, k));
  }

  std::vector<AdamWTensor> tensors(bool with_mean = true) {
    std::vector<AdamWTensor> out;
    for (size_t i = 0; i < p.size(); ++i)
      out.push_back({.size = p[i].numel(),
                     .p = p[i].data_ptr<float>(),
                     .g = g[i].data_ptr<float>(),
                     .m = m[i].data_ptr<float>(),
                     .v = v[i].data_ptr<float>(),
                     .e = with_mean ? e[i].data_ptr<float>() : nullptr});
    return out;
  }

  std::vector<Tensor> p, g, m, v, e, first_g;
};

constexpr AdamWUpdate kUpdate{.learning_rate = 3e-3,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .weight_decay = 0.02,
                              .epsilon = 1e-8,
                              .k = 1};

void run(Network& net, AdamWUpdate update, int64_t steps,
         const ParallelFor& parallel = in_one_part) {
  for (int64_t k = 1; k <= steps; ++k) {
    net.set_gradient(k);
    update.k = k, update.ema_decay = double(k) / double(9 + k);
    adamw(net.tensors(), update, parallel);
  }
}

void expect_same_bits(const Network& a, const Network& b) {
  for (size_t i = 0; i < a.p.size(); ++i) {
    EXPECT_TRUE(at::equal(a.p[i], b.p[i])) << kSizes[i];
    EXPECT_TRUE(at::equal(a.m[i], b.m[i])) << kSizes[i];
    EXPECT_TRUE(at::equal(a.v[i], b.v[i])) << kSizes[i];
    EXPECT_TRUE(at::equal(a.e[i], b.e[i])) << kSizes[i];
  }
}

// |a - b| / |b|, number by number, where b is not tiny.
void expect_close(const Tensor& a, const Tensor& b, double relative, const std::string& what) {
  EXPECT_TRUE(at::allclose(a.to(at::kDouble), b.to(at::kDouble), relative, relative * 1e-2))
      << what << " of " << a.numel() << ": "
      << (a.numel() ? (a - b).abs().max().item<double>() : 0);
}

}  // namespace

// Loshchilov & Hutter 2019, Alg. 2, and the running mean, in float64.
TEST(AdamWKernel, FollowsTheEquationsInFloat64) {
  struct Case {
    double beta1, weight_decay, gradient_scale;
  };
  for (const auto& [beta1, weight_decay, scale] :
       {Case{0.9, 0, 1}, {0.9, 0.02, 1}, {0.9, 0.3, 0.25}, {0, 0.02, 1}, {0.4, 0, 2}}) {
    SCOPED_TRACE(formatted("beta1 {}, weight decay {}, scale {}", beta1, weight_decay, scale));
    AdamWUpdate u = kUpdate;
    u.beta1 = beta1, u.weight_decay = weight_decay, u.gradient_scale = scale;
    Network net, start;
    constexpr int64_t kSteps = 12;  // the mean's weight crosses 1/2 at the ninth
    run(net, u, kSteps);
    for (size_t i = 0; i < net.p.size(); ++i) {
      Tensor p = start.p[i].to(at::kDouble), m = at::zeros_like(p), v = m.clone(), e = p.clone();
      for (int64_t k = 1; k <= kSteps; ++k) {
        const double d = double(k) / double(9 + k);
        const Tensor g = start.gradient(i, k).to(at::kDouble) * scale;
        m = beta1 * m + (1 - beta1) * g;
        v = u.beta2 * v + (1 - u.beta2) * g * g;
        const Tensor m_hat = m / (1 - std::pow(beta1, k)), v_hat = v / (1 - std::pow(u.beta2, k));
        p = p - u.learning_rate * (m_hat / (v_hat.sqrt() + u.epsilon) + weight_decay * p);
        e = d * e + (1 - d) * p;
      }
      expect_close(net.p[i], p, 1e-6, "p");
      expect_close(net.m[i], m, 1e-6, "m");
      expect_close(net.v[i], v, 1e-6, "v");
      expect_close(net.e[i], e, 1e-6, "e");
    }
  }
}

TEST(AdamWKernel, AgreesWithLibTorchToTheLastBits) {
  Network ours, stock;
  for (int64_t k = 1; k <= 10; ++k) {
    AdamWUpdate u = kUpdate;
    u.k = k, u.ema_decay = 0.99;
    ours.set_gradient(k), stock.set_gradient(k);
    adamw(ours.tensors(), u, in_one_part);
    at::_fused_adamw_(stock.p, stock.g, stock.m, stock.v, {},
                      std::vector<Tensor>(stock.p.size(), at::full({}, double(k))), u.learning_rate,
                      u.beta1, u.beta2, u.weight_decay, u.epsilon, false, false);
    at::_foreach_lerp_(stock.e, stock.p, 1 - u.ema_decay);
  }
  for (size_t i = 0; i < ours.p.size(); ++i) {
    expect_close(ours.p[i], stock.p[i], 5e-7, "p");
    expect_close(ours.m[i], stock.m[i], 5e-7, "m");
    expect_close(ours.v[i], stock.v[i], 5e-7, "v");
    expect_close(ours.e[i], stock.e[i], 5e-7, "e");
  }
}

TEST(AdamWKernel, DoesNotDependOnHowTheWorkIsCut) {
  Network one, many, threads;
  run(one, kUpdate, 3);
  run(many, kUpdate, 3, in_many_parts);
  run(threads, kUpdate, 3, on_torch_threads);
  expect_same_bits(one, many);
  expect_same_bits(one, threads);
  EXPECT_EQ(gradient_norm(one.tensors(), in_one_part), gradient_norm(one.tensors(), in_many_parts));
}

TEST(AdamWKernel, LeavesTheGradientAndMayKeepNoMean) {
  Network with, without, start;
  AdamWUpdate u = kUpdate;
  u.gradient_scale = 0.5;  // and ema_decay is 1
  adamw(with.tensors(), u, in_one_part);
  adamw(without.tensors(/*with_mean=*/false), u, in_one_part);
  expect_same_bits(with, without);
  for (size_t i = 0; i < start.p.size(); ++i) {
    EXPECT_TRUE(at::equal(with.e[i], start.e[i])) << "decay 1 keeps the mean";
    EXPECT_TRUE(at::equal(with.g[i], start.g[i])) << "the gradient is only read";
    EXPECT_EQ(at::equal(with.p[i], start.p[i]), kSizes[i] == 0);
  }
  u.k = 2, u.ema_decay = 0;
  adamw(with.tensors(), u, in_one_part);
  for (size_t i = 0; i < start.p.size(); ++i)
    EXPECT_TRUE(at::equal(with.e[i], with.p[i])) << "decay 0 copies the weights";
}

TEST(AdamWKernel, ANaNSpoilsItsOwnNumberOnly) {
  Network good, bad;
  const int64_t at = 16384;  // the last of 16385, alone in a chunk and in a vector
  bad.g[8][at] = std::nan(""), bad.p[9][5] = std::nan("");
  AdamWUpdate u = kUpdate;
  u.ema_decay = 0.9;
  adamw(good.tensors(), u, in_one_part);
  adamw(bad.tensors(), u, in_one_part);
  for (const auto& list : {&Network::p, &Network::m, &Network::v, &Network::e})
    EXPECT_TRUE((bad.*list)[8][at].isnan().item<bool>());
  EXPECT_TRUE(bad.p[9][5].isnan().item<bool>() && bad.e[9][5].isnan().item<bool>());
  for (const auto& list : {&Network::p, &Network::m, &Network::v, &Network::e}) {
    (bad.*list)[8][at] = (good.*list)[8][at];
    (bad.*list)[9][5] = (good.*list)[9][5];
  }
  expect_same_bits(good, bad);
}

TEST(AdamWKernel, TinyGradientsAreDividedByEpsilon) {
  for (const float g : {0.f, 1e-45f, 1e-40f, 1e-30f, 1e-12f, 1e-9f, 1e-7f}) {
    Network net;
    for (Tensor& t : net.p) t.zero_();
    for (Tensor& t : net.g) t.fill_(g);
    adamw(net.tensors(), kUpdate, in_one_part);
    // After one step m and v without their bias are g and g^2, whether float32 holds them or not.
    const double move = kUpdate.learning_rate * g / (double(g) + kUpdate.epsilon);
    for (const Tensor& p : net.p)
      EXPECT_TRUE(at::allclose(p, at::full_like(p, -move), 1e-5, 1e-36)) << g;
  }
}

TEST(GradientNorm, SumsInFloat64WhateverTheSize) {
  Network net;
  double squares = 0;
  for (const Tensor& g : net.g) squares += g.to(at::kDouble).square().sum().item<double>();
  EXPECT_NEAR(gradient_norm(net.tensors(), in_one_part) / std::sqrt(squares), 1, 1e-13);
  for (Tensor& g : net.g) g.fill_(1e30f);  // whose square float32 does not hold
  int64_t count = 0;
  for (const int64_t n : kSizes) count += n;
  const double expected = double(1e30f) * std::sqrt(double(count));
  EXPECT_NEAR(gradient_norm(net.tensors(), in_one_part) / expected, 1, 1e-13);
  net.g[3][16] = std::nan("");
  EXPECT_TRUE(std::isnan(gradient_norm(net.tensors(), in_one_part)));
  EXPECT_EQ(gradient_norm({}, in_one_part), 0);
}

}  // namespace tweedie::kernels

#include "tweedie/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "tweedie/train/ema.h"

namespace tweedie {
namespace {

Parameters some_parameters() {
  Parameters p;
  for (const auto& [name, n] : {std::pair{"a", 37}, {"b", 1}, {"c", 64}}) {
    p.names.push_back(name);
    p.tensors.push_back((at::arange(n, at::kFloat) * 0.7).sin().requires_grad_(true));
  }
  return p;
}

Tensor gradient_at(int64_t n, int k) {
  return ((at::arange(n, at::kFloat) + 3.0 * k) * 0.37).cos();
}

void set_gradients(Parameters& p, int k) {
  for (Tensor& t : p.tensors) t.mutable_grad() = gradient_at(t.numel(), k);
}

// Loshchilov & Hutter 2019, Alg. 2, one number at a time in double.
std::vector<double> plain_adamw(const Tensor& start, const TrainOptions& o, double lr, int steps) {
  std::vector<double> out;
  for (int64_t i = 0; i < start.numel(); ++i) {
    double p = start[i].item<float>(), m = 0, v = 0;
    for (int k = 1; k <= steps; ++k) {
      const double g = gradient_at(start.numel(), k)[i].item<float>();
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * g * g;
      const double m_hat = m / (1 - std::pow(o.beta1, k)), v_hat = v / (1 - std::pow(o.beta2, k));
      p -= lr * (m_hat / (std::sqrt(v_hat) + o.epsilon) + o.weight_decay * p);
    }
    out.push_back(p);
  }
  return out;
}

}  // namespace

TEST(AdamW, FollowsThePlainFormulaInDouble) {
  TrainOptions options;
  options.weight_decay = 0.02;
  Parameters p = some_parameters(), start = some_parameters();
  AdamW adamw(p, options);
  for (int k = 1; k <= 8; ++k) {
    set_gradients(p, k);
    adamw.step(3e-3, k);
  }
  for (size_t i = 0; i < p.tensors.size(); ++i) {
    const auto expected = plain_adamw(start.tensors[i].detach(), options, 3e-3, 8);
    for (int64_t j = 0; j < p.tensors[i].numel(); ++j)
      EXPECT_NEAR(p.tensors[i][j].item<float>(), expected[j], 1e-6);
  }
}

TEST(AdamW, ContinuesBitForBitFromItsState) {
  Parameters whole = some_parameters(), parts = some_parameters();
  AdamW a(whole, {}), first(parts, {});
  for (int k = 1; k <= 6; ++k) {
    set_gradients(whole, k);
    a.step(1e-2, k);
  }
  for (int k = 1; k <= 3; ++k) {
    set_gradients(parts, k);
    first.step(1e-2, k);
  }
  AdamW second(parts, {});
  second.load(first.state(), "state");
  for (int k = 4; k <= 6; ++k) {
    set_gradients(parts, k);
    second.step(1e-2, k);
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(whole.tensors[i], parts.tensors[i]));
}

TEST(AdamW, ClipsTheNormOfTheWholeGradient) {
  Parameters p = some_parameters();
  AdamW adamw(p, {});
  set_gradients(p, 1);
  double squares = 0;
  for (const Tensor& t : p.tensors) squares += t.grad().square().sum().item<float>();
  const double norm = adamw.gradient_norm().item<float>();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-5);
  adamw.clip(norm, 100);
  EXPECT_TRUE(at::equal(p.tensors[0].grad(), gradient_at(37, 1)));
  adamw.clip(norm, 0.5);
  EXPECT_NEAR(adamw.gradient_norm().item<float>(), 0.5, 1e-6);
  EXPECT_TRUE(at::allclose(p.tensors[2].grad(), gradient_at(64, 1) * (0.5 / norm)));
}

TEST(Ema, WarmsUpAndThenKeepsItsDecay) {
  TrainOptions options;
  options.ema_decay = 0.9;
  const Tensor p = at::zeros({3});
  Ema ema({p}, options);
  double expected = 0;
  for (int t = 0; t < 200; ++t) {
    p.fill_(t + 1.0);
    const double d = std::min(0.9, (1.0 + t) / (10.0 + t));
    EXPECT_DOUBLE_EQ(ema.decay(t), d);
    expected = d * expected + (1 - d) * (t + 1);
    ema.update(t);
  }
  EXPECT_NEAR(ema.tensors()[0][1].item<float>(), expected, 1e-3);
  EXPECT_NEAR(expected, 191, 0.1);  // a mean with decay 0.9 lags a ramp by 0.9 / (1 - 0.9) steps
  options.ema_warmup = false;
  EXPECT_EQ(Ema({p}, options).decay(0), 0.9);
}

TEST(Ema, SwapPutsTheMeanIntoTheNetworkAndTakesItOutAgain) {
  torch::nn::Linear net(2, 2);
  TrainOptions options;
  const Tensor raw = net->weight.detach().clone();
  Ema ema({net->weight}, options);
  at::NoGradGuard no_grad;
  net->weight.add_(1);
  ema.swap();
  EXPECT_TRUE(at::equal(net->weight, raw));
  EXPECT_TRUE(net->weight.requires_grad());
  ema.swap();
  EXPECT_TRUE(at::equal(net->weight, raw + 1));
  EXPECT_TRUE(at::equal(ema.tensors()[0], raw));
}

}  // namespace tweedie

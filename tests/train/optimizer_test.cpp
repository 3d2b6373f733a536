#include "tweedie/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>

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
  for (Tensor& t : p.tensors) t.mutable_grad() = gradient_at(t.numel(), k).to(t.scalar_type());
}

// Loshchilov & Hutter 2019, Alg. 2, and the mean of p, one number at a time in double.
struct Plain {
  double p, e;
};
std::vector<Plain> plain_adamw(const Tensor& start, const TrainOptions& o, double lr, double scale,
                               int steps) {
  std::vector<Plain> out;
  for (int64_t i = 0; i < start.numel(); ++i) {
    double p = start[i].item<double>(), e = p, m = 0, v = 0;
    for (int k = 1; k <= steps; ++k) {
      const double g = scale * gradient_at(start.numel(), k)[i].item<double>();
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * g * g;
      const double m_hat = m / (1 - std::pow(o.beta1, k)), v_hat = v / (1 - std::pow(o.beta2, k));
      p -= lr * (m_hat / (std::sqrt(v_hat) + o.epsilon) + o.weight_decay * p);
      const double d = std::min(o.ema_decay, double(k) / (9 + k));
      e = d * e + (1 - d) * p;
    }
    out.push_back({p, e});
  }
  return out;
}

}  // namespace

// In float32 our kernel computes, in float64 LibTorch's operations.
// Loshchilov & Hutter 2019, Alg. 2
TEST(AdamW, FollowsThePlainFormulaInDouble) {
  TrainOptions options;
  options.weight_decay = 0.02, options.ema_decay = 0.4;
  for (const auto type : {at::kFloat, at::kDouble}) {
    Parameters p = some_parameters(), start = some_parameters();
    for (Tensor& t : p.tensors) t = t.detach().to(type).requires_grad_(true);
    AdamW adamw(p, options);
    Ema ema(p.tensors, options);
    for (int k = 1; k <= 8; ++k) {
      set_gradients(p, k);
      adamw.step({.learning_rate = 3e-3, .k = k, .gradient_scale = 0.3, .ema = &ema});
    }
    for (size_t i = 0; i < p.tensors.size(); ++i) {
      const auto expected = plain_adamw(start.tensors[i].detach(), options, 3e-3, 0.3, 8);
      for (int64_t j = 0; j < p.tensors[i].numel(); ++j) {
        EXPECT_NEAR(p.tensors[i][j].item<double>(), expected[j].p, 1e-6);
        EXPECT_NEAR(ema.tensors()[i][j].item<double>(), expected[j].e, 1e-6);
      }
    }
  }
}

TEST(AdamW, ContinuesBitForBitFromItsState) {
  Parameters whole = some_parameters(), parts = some_parameters();
  AdamW a(whole, {}), first(parts, {});
  for (int k = 1; k <= 6; ++k) {
    set_gradients(whole, k);
    a.step({.learning_rate = 1e-2, .k = k});
  }
  for (int k = 1; k <= 3; ++k) {
    set_gradients(parts, k);
    first.step({.learning_rate = 1e-2, .k = k});
  }
  AdamW second(parts, {});
  second.load(first.state(), "state");
  for (int k = 4; k <= 6; ++k) {
    set_gradients(parts, k);
    second.step({.learning_rate = 1e-2, .k = k});
  }
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(whole.tensors[i], parts.tensors[i]));
}

TEST(AdamW, MeasuresAndClipsTheNormOfTheWholeGradient) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    Parameters p = some_parameters();
    for (Tensor& t : p.tensors) t = t.detach().to(type).requires_grad_(true);
    set_gradients(p, 1);
    double squares = 0;
    for (const Tensor& t : p.tensors) squares += t.grad().square().sum().item<double>();
    EXPECT_NEAR(AdamW(p, {}).gradient_norm().item<double>(), std::sqrt(squares), 1e-5);
  }
  EXPECT_EQ(clip_factor(4, 0.5), 0.125);
  EXPECT_EQ(clip_factor(4, 4), 1);
  EXPECT_EQ(clip_factor(4, 100), 1);
  EXPECT_EQ(clip_factor(4, 0), 1) << "0 does not clip";
}

// As convolutions of a channels-last network may leave them.
TEST(AdamW, TakesAGradientOfAnotherLayout) {
  const Tensor g = gradient_at(4 * 3 * 2 * 5, 1).view({4, 3, 2, 5});
  const auto last = at::MemoryFormat::ChannelsLast;
  for (const auto type : {at::kFloat, at::kDouble}) {
    std::vector<Tensor> results;
    for (const Tensor& gradient : {g, g.contiguous(last)}) {
      for (const bool parameter_last : {false, true}) {
        Tensor p = at::ones({4, 3, 2, 5}, type);
        if (parameter_last) p = p.contiguous(last);
        p.requires_grad_(true).mutable_grad() = gradient.to(type);
        AdamW adamw({{"p"}, {p}}, {});
        adamw.step({.learning_rate = 0.1, .k = 1});
        results.push_back(p.detach());
      }
    }
    for (const Tensor& result : results) EXPECT_TRUE(at::equal(result, results[0]));
  }
}

TEST(AdamW, TellsAutogradThatTheParametersHaveChanged) {
  const Tensor p = at::ones({3}).requires_grad_(true);
  const Tensor y = (p * p).sum();
  p.mutable_grad() = at::ones({3});
  AdamW({{"p"}, {p}}, {}).step({.learning_rate = 0.1, .k = 1});
  EXPECT_THROW(y.backward(), c10::Error) << "it needs the p from before";
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
  // A step goes to the numbers that are the network's and the mean's now.
  ema.swap();
  net->weight.mutable_grad() = at::zeros({2, 2});
  AdamW({{"w"}, {net->weight}}, options).step({.learning_rate = 0, .k = 1, .ema = &ema});
  EXPECT_TRUE(at::equal(net->weight, raw));
  EXPECT_TRUE(at::allclose(ema.tensors()[0], raw + 0.1)) << "d = 1/10 at t = 0";
}

}  // namespace tweedie

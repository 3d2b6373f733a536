#include "tweedie/metrics/ode_likelihood.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tests/support/tiny_unet.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/process.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

/// n levels, r = sigma/alpha geometric from `high` down to `low`.
std::vector<Level> geometric(int64_t n, double low, double high, bool exploding = false) {
  std::vector<Level> levels;
  for (int64_t i = 0; i < n; ++i) {
    const double r = high * std::pow(low / high, static_cast<double>(i) / (n - 1));
    const double alpha = exploding ? 1 : 1 / std::sqrt(1 + r * r);
    levels.push_back({alpha, r * alpha, -1});
  }
  return levels;
}

GaussianMixture plane() {
  const Tensor means = at::tensor({-0.6, 0.2, 0.5, -0.1, 0.3, 0.7}, at::kDouble).view({3, 2});
  return {{0.3, 0.5, 0.2}, means, {0.04, 0.01, 0.09}};
}
GaussianMixture images() {
  const Tensor t = at::arange(48, at::kDouble).view({3, 1, 4, 4});
  return {{1, 2, 1}, 0.7 * (1.3 * t).sin(), {0.04, 0.01, 0.02}};
}

// bits/dim by which `p` misses the true density: the worst example's, and of the mean over
// examples.
struct Miss {
  double worst, mean;
};
Miss miss(const OdeLikelihood& p, const GaussianMixture& mixture, const Tensor& x) {
  const Tensor truth = mixture_log_density(mixture, x);
  const Tensor off = density_bits_per_dim(p.log_density - truth, x[0].numel());
  return {off.abs().max().item<double>(), std::abs(off.mean().item<double>())};
}

}  // namespace

// Data N(m, C I): the flow to r is xh - m scaled by sqrt((C + r^2)/(C + r0^2)), so the model's
// density is that of the prior there times the scale's volume.
TEST(OdeLikelihood, OfOneGaussianIsTheClosedForm) {
  const double m = 0.3, C = 0.25, low = 0.01, high = 100;
  const Denoiser denoise = mixture_denoiser({{1}, at::full({1, 1, 1, 3}, m, at::kDouble), {C}});
  const Tensor x = at::tensor({0.1, -0.5, 0.9, 0.3, 1.2, -0.2}, at::kDouble).view({2, 1, 1, 3});
  const double scale = std::sqrt((C + high * high) / (C + low * low));
  const double spread = 1 + high * high;
  const Tensor end = m + scale * (x - m);
  const Tensor expected = -end.square().sum({1, 2, 3}) / (2 * spread) -
                          1.5 * std::log(2 * std::numbers::pi * spread) + 3 * std::log(scale);
  for (const bool exploding : {false, true}) {
    const OdeLikelihood p =
        ode_log_density(denoise, x, geometric(301, low, high, exploding), {.divergence = "exact"});
    EXPECT_LT((p.log_density - expected).abs().max().item<double>(), 1e-6);
    EXPECT_EQ(p.standard_error.abs().max().item<double>(), 0);
    EXPECT_EQ(p.calls, 400);
    EXPECT_NEAR(p.at.sigma / p.at.alpha, low, 1e-15);
  }
}

TEST(OdeLikelihood, IsTheTrueDensityOfAMixture) {
  for (const GaussianMixture& mixture : {plane(), images()}) {
    const Tensor x = mixture_draw(mixture, 40, Rng(1));
    const auto run = [&](int64_t n, const char* method) {
      return ode_log_density(mixture_denoiser(mixture), x, geometric(n, 3e-3, 3e2),
                             {.method = method, .divergence = "exact"});
    };
    for (const int64_t n : {31, 61, 121}) {
      const OdeLikelihood rk4 = run(n, "rk4"), heun = run(n, "heun");
      const Miss fourth = miss(rk4, mixture, x), second = miss(heun, mixture, x);
      std::printf(
          "D = %2ld, bits/dim off (of the mean, of the worst of 40): rk4 %.1e, %.1e after "
          "%ld calls; heun %.1e, %.1e after %ld\n",
          x[0].numel(), fourth.mean, fourth.worst, rk4.calls, second.mean, second.worst,
          heun.calls);
      EXPECT_LT(fourth.mean, n == 121 ? 1e-3 : 1e-2);
      if (n == 121) {
        EXPECT_LT(fourth.worst, 0.01);
      }
    }
  }
}

TEST(OdeLikelihood, HutchinsonsMeanIsTheExactDivergenceWithinItsError) {
  for (const GaussianMixture& mixture : {plane(), images()})
    for (const char* probe : {"rademacher", "gaussian"}) {
      const Tensor x = mixture_draw(mixture, 16, Rng(2));
      const auto levels = geometric(31, 1e-2, 1e2);
      const Denoiser denoise = mixture_denoiser(mixture);
      const OdeLikelihood exact = ode_log_density(denoise, x, levels, {.divergence = "exact"});
      const OdeLikelihood p =
          ode_log_density(denoise, x, levels, {.probe = probe, .probes = 64, .seed = 5});
      const Tensor off = (p.log_density - exact.log_density).abs();
      EXPECT_TRUE((off <= 4 * p.standard_error + 1e-9).all().item<bool>()) << off;
      EXPECT_GT(p.standard_error.max().item<double>(), 1e-3);
      EXPECT_EQ(p.calls, exact.calls);
    }
}

TEST(OdeLikelihood, OfAnExampleDoesNotDependOnTheOthers) {
  const Tensor x = mixture_draw(images(), 5, Rng(3));
  const auto run = [&](const Tensor& some, int64_t first) {
    return ode_log_density(mixture_denoiser(images()), some, geometric(10, 1e-2, 10),
                           {.probes = 2, .seed = 7, .first = first});
  };
  const OdeLikelihood all = run(x, 0), head = run(x.narrow(0, 0, 2), 0),
                      tail = run(x.narrow(0, 2, 3), 2), other = run(x, 1);
  EXPECT_TRUE(at::allclose(all.log_density, at::cat({head.log_density, tail.log_density}), 1e-12));
  EXPECT_TRUE(
      at::allclose(all.standard_error, at::cat({head.standard_error, tail.standard_error}), 1e-9));
  EXPECT_GT((all.log_density - other.log_density).abs().min().item<double>(), 1e-6);
  EXPECT_FALSE(ode_log_density(mixture_denoiser(images()), x, geometric(10, 1e-2, 10))
                   .standard_error.isfinite()
                   .any()
                   .item<bool>());
}

// The same places in sigma/alpha are the same ODE, whatever alpha is.
TEST(OdeLikelihood, IsTheSameAlongVarianceExplodingLevels) {
  const Tensor x = mixture_draw(plane(), 8, Rng(4));
  const auto run = [&](bool exploding) {
    return ode_log_density(mixture_denoiser(plane()), x, geometric(25, 1e-2, 50, exploding),
                           {.divergence = "exact"})
        .log_density;
  };
  EXPECT_LT((run(false) - run(true)).abs().max().item<double>(), 1e-10);
}

TEST(OdeLikelihood, ConvergesAsItsOrderSaysOnLevelsOfAnySpacing) {
  const Tensor x = mixture_draw(plane(), 12, Rng(5));
  // sigma/alpha = 0.1 + u + 9 u^3: neither equal nor geometric.
  const auto levels = [](int64_t intervals) {
    std::vector<Level> out;
    for (int64_t i = intervals; i >= 0; --i) {
      const double u = static_cast<double>(i) / intervals, r = 0.1 + u + 9 * u * u * u;
      out.push_back({1 / std::sqrt(1 + r * r), r / std::sqrt(1 + r * r), -1});
    }
    return out;
  };
  const auto run = [&](int64_t intervals, const char* method) {
    return ode_log_density(mixture_denoiser(plane()), x, levels(intervals),
                           {.method = method, .divergence = "exact"})
        .log_density;
  };
  const Tensor truth = run(3 * 2048, "rk4");
  // 256, 512 and 1024 intervals leave 1 and 2 where 192, 384 and 768 are threes.
  for (const auto& [method, start, order] :
       {std::tuple{"heun", 96, 2.0}, {"rk4", 192, 4.0}, {"rk4", 256, 4.0}}) {
    double before = 0;
    for (int64_t n = start; n <= 4 * start; n *= 2) {
      const double error = (run(n, method) - truth).norm().item<double>();
      if (before > 0) {
        EXPECT_NEAR(std::log2(before / error), order, 0.2) << method << " " << n;
      }
      before = error;
    }
  }
}

TEST(OdeLikelihood, FollowsANetworkThroughAutograd) {
  UNet net(testing::tiny_unet(), 3);
  net->eval();
  const Process process{ProcessOptions{}};
  const Denoiser denoise =
      process.denoiser([&](const Tensor& x, const Tensor& t) { return net->forward(x, t); });
  const Tensor x = at::linspace(-1, 1, 2 * 64).view({2, 1, 8, 8});
  const auto levels = process.levels(7, "trailing");
  const at::NoGradGuard no_grad;  // as evaluation runs
  const OdeLikelihood exact = ode_log_density(denoise, x, levels, {.divergence = "exact"});
  const OdeLikelihood p = ode_log_density(denoise, x, levels, {.probes = 32});
  const Tensor off = (p.log_density - exact.log_density).abs();
  EXPECT_TRUE((off <= 4 * p.standard_error).all().item<bool>()) << off;
  EXPECT_EQ(exact.calls, 8);
  EXPECT_EQ(exact.at.t, levels[6].t);
}

TEST(OdeLikelihood, RefusesWhatItCannotFollow) {
  const Tensor x = at::zeros({1, 1, 1, 2}, at::kDouble);
  const Denoiser denoise = mixture_denoiser({{1}, x, {1}});
  const auto message = [&](std::vector<Level> levels, OdeLikelihoodOptions options = {}) {
    return message_of([&] { ode_log_density(denoise, x, levels, options); });
  };
  EXPECT_TRUE(contains(message(geometric(2, 0.1, 1)), "at least 3 levels"));
  EXPECT_EQ(message(geometric(2, 0.1, 1), {.method = "heun"}), "");
  EXPECT_TRUE(contains(message({{0, 1}, {.6, .8}, {.8, .6}}), "alpha > 0"));
  EXPECT_TRUE(contains(message({{.8, .6}, {.6, .8}, {.9, .4}}), "must fall"));
  EXPECT_TRUE(contains(message({{1, 1.0}, {1, .9001}, {1, .9}, {1, .1}}), "too uneven"));
  EXPECT_TRUE(contains(message(geometric(4, 0.1, 1), {.method = "rk5"}), "rk5"));
  EXPECT_TRUE(contains(message(geometric(4, 0.1, 1), {.probes = 0}), "probes"));
  const Denoiser cut = [&](const Tensor& y, const Level& at) { return denoise(y.detach(), at); };
  EXPECT_TRUE(
      contains(message_of([&] { ode_log_density(cut, x, geometric(4, 0.1, 1)); }), "autograd"));
}

TEST(Dequantise, SpreadsALevelEvenlyOverItsBin) {
  const Tensor levels = at::arange(256, at::kFloat) / 127.5 - 1;
  const Tensor x0 = levels.view({1, 1, 16, 16}).repeat({200, 1, 1, 1});
  const Tensor u = (dequantise(x0, 9) - x0) / kPixelWidth + 0.5;
  EXPECT_GE(u.min().item<float>(), -1e-4);
  EXPECT_LE(u.max().item<float>(), 1 + 1e-4);
  const double n = static_cast<double>(u.numel());
  EXPECT_NEAR(u.mean().item<double>(), 0.5, 4 * std::sqrt(1 / (12 * n)));
  EXPECT_NEAR(u.var().item<double>(), 1. / 12, 4 * std::sqrt(1 / (180 * n)));
  EXPECT_TRUE(at::equal(dequantise(x0, 9).narrow(0, 3, 4), dequantise(x0.narrow(0, 3, 4), 9, 3)));
}

TEST(DensityBitsPerDim, OfAUniformDensityOverAllLevelsIsEight) {
  const Tensor log_density = at::full({3}, -5 * std::log(256 / 127.5), at::kDouble);
  EXPECT_NEAR(density_bits_per_dim(log_density, 5, kPixelWidth)[0].item<double>(), 8, 1e-12);
  EXPECT_NEAR(density_bits_per_dim(at::zeros({1}), 1, kPixelWidth).item<double>(), 6.99435343685886,
              1e-6);
}

}  // namespace tweedie

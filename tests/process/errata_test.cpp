// The proofs of docs/errata.md: forward process, posterior, variances and scores. Each ends with
// the library's own number where it has one.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/verdict.h"
#include "tweedie/core/rng.h"
#include "tweedie/process/bound.h"
#include "tweedie/process/gaussian.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/process.h"

namespace tweedie {
namespace {

using testing::derivative;
using testing::expect_verdict;
using testing::integral;
using testing::Moments;
using testing::moments;
using testing::normal;
using testing::square;

Schedule linear(int64_t T = 1000, double start = 1e-4, double end = 0.02) {
  ProcessOptions options;
  options.num_train_timesteps = T;
  options.beta_start = start;
  options.beta_end = end;
  return Schedule(make_betas(options));
}

// abar as the chain itself has it: the product of 1 - beta over steps 0..k.
double product(const Schedule& s, int64_t k) {
  double abar = 1;
  for (int64_t i = 0; i <= k; ++i) abar *= 1 - s.beta(i);
  return abar;
}

// q(x_{k-1} | x_k, x_0) by Bayes' rule on a grid, from one step of the chain and its start.
Moments bayes(const Schedule& s, int64_t k, double x0, double x) {
  const double beta = s.beta(k), abar = product(s, k - 1);
  return moments(
      [&](double y) {
        return normal(x, std::sqrt(1 - beta) * y, beta) * normal(y, std::sqrt(abar) * x0, 1 - abar);
      },
      -8, 8);
}

Tensor number(double x) { return at::full({1, 1}, x, at::kDouble); }

// E[eps|x_t] of data -1 and 1/2, half each, as the library has it.
double believed_eps(double x, const Level& at) {
  const Tensor points = at::tensor({-1., 0.5}, at::kDouble).view({2, 1});
  return mixture_denoiser({{1, 1}, points, {0, 0}})(number(x), at).eps.item<double>();
}

double variance_of(const std::vector<double>& x) {
  double sum = 0, squares = 0;
  for (const double v : x) sum += v, squares += v * v;
  return squares / x.size() - square(sum / x.size());
}

}  // namespace

TEST(Errata, AWalkThatDoesNotShrinkNeverReachesTheStandardNormal) {  // DDPM Eq. 2
  const Schedule s = linear(100, 1e-3, 0.2);
  const int n = 20000;
  std::vector<double> shrinking(n), plain(n);
  Rng rng(1);
  for (int i = 0; i < n; ++i) {
    shrinking[i] = plain[i] = 0.5 * rng.normal();
    for (int64_t k = 0; k < s.size(); ++k) {
      const double z = rng.normal();
      shrinking[i] = std::sqrt(1 - s.beta(k)) * shrinking[i] + std::sqrt(s.beta(k)) * z;
      plain[i] += z;
    }
  }
  const double standard_error = std::sqrt(2.0 / n);
  expect_verdict(1, variance_of(shrinking), variance_of(plain), 4 * standard_error, 90);
  EXPECT_NEAR(variance_of(plain), 0.25 + 100, 4 * 100 * standard_error);
  const Level end = s.level(99);
  EXPECT_NEAR(square(end.alpha) * 0.25 + square(end.sigma), variance_of(shrinking),
              4 * standard_error);
}

TEST(Errata, NoiseIsMultipliedByAStandardDeviation) {  // DDPM Eq. 2
  // The chain keeps the variance of data that has variance 1.
  double right = 1, wrong = 1;
  const Schedule s = linear();
  for (int64_t k = 0; k < s.size(); ++k) {
    const double beta = s.beta(k);
    right = (1 - beta) * right + square(std::sqrt(beta));
    wrong = (1 - beta) * wrong + square(beta);
  }
  expect_verdict(1, right, wrong, 1e-12, 0.9);
  const Level at = s.level(999), before = s.level(998);
  EXPECT_NEAR(square(at.alpha / before.alpha) + step_variance(at, before), 1, 1e-12);
}

TEST(Errata, TheLastStepLeavesAHundredThousandthOfABit) {  // DDPM Sec. 4
  const auto prior_bits = [](double abar) {  // KL(q(x_T | x_0) || N(0,1)) at x_0^2 = 1/4
    const auto term = [&](double x) {
      const double q = normal(x, std::sqrt(abar) / 2, 1 - abar);
      return q > 0 ? q * (testing::log_normal(x, std::sqrt(abar) / 2, 1 - abar) -
                          testing::log_normal(x, 0, 1))
                   : 0;
    };
    return integral(term, -12, 12) / std::numbers::ln2;
  };
  const double right = prior_bits(product(linear(), 999));
  const double wrong_abar = product(linear(1000, 1e-4, 0.2), 999);
  expect_verdict(1e-5, right, prior_bits(wrong_abar), 5e-6, 9e-6);
  EXPECT_NEAR(std::log10(wrong_abar), -46.7, 0.1);
  const VariationalBound bound(Process{ProcessOptions{}}.levels(1000), "fixed_small");
  EXPECT_NEAR(bound.prior(number(0.5)).item<double>(), right, 1e-10);
}

TEST(Errata, TheEndIsNoiseWhereAbarVanishesNotWhereTIsLarge) {
  EXPECT_NEAR(product(linear(100), 99), 0.364, 5e-4);                  // unscaled
  EXPECT_NEAR(product(linear(100, 1e-3, 0.2), 99), 2.039e-5, 1e-8);    // scaled by 1000/T
  EXPECT_NEAR(product(linear(10000, 1e-5, 1e-5), 9999), 0.905, 5e-4);  // many steps, little noise
  for (const Schedule& s : {linear(100), linear(100, 1e-3, 0.2), linear(10000, 1e-5, 1e-5)})
    EXPECT_NEAR(s.alpha_cumprod(s.size() - 1) / product(s, s.size() - 1), 1, 1e-11);
}

TEST(Errata, VariancesAddForIndependentNoisesAlone) {  // DDPM Eq. 4
  const double a = 0.6, b = 0.8;
  const int n = 100000;
  std::vector<double> independent(n), same(n);
  Rng rng(2);
  for (int i = 0; i < n; ++i) {
    const double z = rng.normal();
    independent[i] = a * z + b * rng.normal();
    same[i] = a * z + b * z;
  }
  expect_verdict(a * a + b * b, variance_of(independent), variance_of(same), 4 * std::sqrt(2.0 / n),
                 0.9);
  // Two steps of the chain: what is left of the first noise beside the second.
  EXPECT_NEAR(square(Schedule({0.1, 0.64}).level(1).sigma), (1 - 0.64) * 0.1 + 0.64, 1e-14);
}

TEST(Errata, TheMeanOfAStepIsWhereTheChainWas) {  // DDPM Eq. 2
  const double beta = 0.19;
  const int n = 100000;
  double xy = 0, xx = 0;
  Rng rng(3);
  for (int i = 0; i < n; ++i) {
    const double before = rng.normal();
    const double after = std::sqrt(1 - beta) * before + std::sqrt(beta) * rng.normal();
    xy += before * after, xx += before * before;
  }
  const double slope = xy / xx;  // of E[x_t | x_{t-1}]
  expect_verdict(slope, std::sqrt(1 - beta), 0, 4 * std::sqrt(beta / n), 0.5);
  const Schedule s({0.1, beta});
  EXPECT_NEAR(s.level(1).alpha / s.level(0).alpha, std::sqrt(1 - beta), 1e-14);
}

TEST(Errata, TheNoiseOfTheJumpIsNotTheNoiseOfTheStep) {  // DDPM Eq. 4
  const std::vector<double> betas = {0.1, 0.2, 0.3, 0.4};
  const double abar = product(Schedule(betas), 3), x0 = 0.7;
  const int n = 50000;
  double correlation = 0;
  Rng rng(4);
  for (int i = 0; i < n; ++i) {
    double x = x0, z = 0;
    for (const double beta : betas) {
      z = rng.normal();
      x = std::sqrt(1 - beta) * x + std::sqrt(beta) * z;
    }
    const double eps = (x - std::sqrt(abar) * x0) / std::sqrt(1 - abar);
    correlation += eps * z / n;
  }
  expect_verdict(correlation, std::sqrt(0.4 / (1 - abar)), 1, 4 / std::sqrt(n), 0.2);
  const Level jump = Schedule(betas).level(3);
  EXPECT_NEAR(std::sqrt(0.4) / jump.sigma, std::sqrt(0.4 / (1 - abar)), 1e-14);
}

TEST(Errata, SmallStepsMakeTheReverseGaussianTheForwardIsSoByChoice) {  // SD15 Sec. 2.2
  const auto reverse = [](double beta) {  // q(x_{t-1} | x_t = 0), data near -0.9 and 0.9
    return moments(
        [&](double y) {
          const double before = normal(y, -0.9, 0.09) + normal(y, 0.9, 0.09);
          return before * normal(0, std::sqrt(1 - beta) * y, beta);
        },
        -8, 8);
  };
  const auto forward = [](double beta) {
    return moments([&](double x) { return normal(x, std::sqrt(1 - beta) * 0.9, beta); }, -8, 8);
  };
  for (const double beta : {1e-3, 0.5}) EXPECT_NEAR(forward(beta).excess_kurtosis, 0, 1e-6);
  EXPECT_NEAR(reverse(1e-3).excess_kurtosis, 0, 0.1);
  EXPECT_LT(reverse(0.5).excess_kurtosis, -1.5);  // two peaks; two points have -2
}

TEST(Errata, NoiseAccumulatesForFallingBetasToo) {
  const Schedule rising = linear(), falling = linear(1000, 0.02, 1e-4);
  EXPECT_NEAR(product(falling, 999) / product(rising, 999), 1, 1e-10);
  for (int64_t k = 1; k < 1000; ++k)
    ASSERT_LT(falling.alpha_cumprod(k), falling.alpha_cumprod(k - 1));
}

TEST(Errata, RoundingRestoresEveryPixelTruncationDoesNot) {  // DDPM Sec. 3.3
  int rounded = 0, truncated = 0;
  for (int p = 0; p < 256; ++p) {
    const float x = static_cast<float>(p) / 127.5f - 1;
    rounded += std::nearbyint(std::clamp(x, -1.f, 1.f) * 127.5f + 127.5f) == p;
    truncated += std::trunc((x + 1) * 127.5f) == p;
  }
  EXPECT_EQ(rounded, 256);
  EXPECT_EQ(truncated, 256 - 63);
}

TEST(Errata, ACumulativeProductNeedsFloat64) {
  const Schedule s = linear();
  float abar = 1;
  double noise = 0, worst = 0, worst_single = 0;  // noise = 1 - abar, added up without cancellation
  for (int64_t k = 0; k < s.size(); ++k) {
    noise += s.beta(k) * (1 - noise);
    abar *= 1 - static_cast<float>(s.beta(k));
    worst = std::max(worst, std::abs(s.one_minus_alpha_cumprod(k) / noise - 1));
    worst_single = std::max(worst_single, std::abs((1 - abar) / noise - 1));
  }
  expect_verdict(0, worst, worst_single, 1e-12, 1e-4);
}

TEST(Errata, PosteriorCoefficientOfX0NeedsAbarOfTheStepBefore) {  // DDPM Eq. 7
  const Schedule s = linear();
  for (const int64_t k : {1, 499}) {
    const double truth = (bayes(s, k, 0.42, 0.4).mean - bayes(s, k, 0.38, 0.4).mean) / 0.04;
    const double abar = s.alpha_cumprod(k), before = s.alpha_cumprod(k - 1);
    const double right = std::sqrt(before) * s.beta(k) / (1 - abar);
    const double wrong = std::sqrt(abar) * s.beta(k) / (1 - abar);
    expect_verdict(truth, right, wrong, 1e-9, 1e-5);
    EXPECT_TRUE(std::isnan(std::sqrt(abar - 1) * s.beta(k) / (1 - abar)));  // where the index fell
    EXPECT_NEAR(posterior(s.level(k), s.level(k - 1)).c0, truth, 1e-9);
  }
}

TEST(Errata, PosteriorCoefficientOfXtNeedsAlphaOfOneStep) {  // DDPM Eq. 7
  const Schedule s = linear();
  const int64_t k = 499;
  const double truth = bayes(s, k, 0.3, 1).mean - bayes(s, k, 0.3, 0).mean;
  const double abar = s.alpha_cumprod(k), before = s.alpha_cumprod(k - 1);
  const double right = std::sqrt(1 - s.beta(k)) * (1 - before) / (1 - abar);
  const double wrong = std::sqrt(abar) * (1 - before) / (1 - abar);
  expect_verdict(truth, right, wrong, 1e-9, 0.7);
  EXPECT_NEAR(posterior(s.level(k), s.level(k - 1)).c1, truth, 1e-9);
}

TEST(Errata, PosteriorMeanDependsOnX0AndNotOnXtAlone) {  // DDPM Eq. 6
  const Schedule s = linear();
  const double low = bayes(s, 1, 0.38, 0.4).mean, high = bayes(s, 1, 0.42, 0.4).mean;
  expect_verdict((high - low) / 0.04, posterior(s.level(1), s.level(0)).c0, 0, 1e-9, 0.5);
}

TEST(Errata, PosteriorMeanFromEpsIsDividedByTheRootOfAlpha) {  // DDPM Eq. 11
  const Schedule s = linear();
  const int64_t k = 499;
  const double beta = s.beta(k), sigma = s.level(k).sigma, x0 = 0.7, eps = -1.2;
  const double x = s.level(k).alpha * x0 + sigma * eps;
  const double brackets = x - beta / sigma * eps;
  expect_verdict(bayes(s, k, x0, x).mean, brackets / std::sqrt(1 - beta), brackets, 1e-9, 1e-3);
  const Process process{ProcessOptions{}};
  const Posterior q = posterior(s.level(k), s.level(k - 1));
  const Tensor believed = process.estimate(number(eps), number(x), s.level(k)).x0;
  EXPECT_NEAR(q.c0 * believed.item<double>() + q.c1 * x, bayes(s, k, x0, x).mean, 1e-9);
}

TEST(Errata, PosteriorVarianceIsFarFromBetaNearTheData) {  // DDPM Eq. 7
  const Schedule s = linear();
  const double truth = bayes(s, 1, 0.3, 0.4).variance;
  const double right = s.beta(1) * (1 - s.alpha_cumprod(0)) / (1 - s.alpha_cumprod(1));
  expect_verdict(truth, right, s.beta(1), 1e-12, 6e-5);
  EXPECT_NEAR(right / s.beta(1), 0.4547, 1e-4);
  EXPECT_EQ(posterior(s.level(0), Level{}).variance, 0);  // and nothing is left at the last step
  EXPECT_NEAR(posterior(s.level(1), s.level(0)).variance, truth, 1e-12);
}

TEST(Errata, TheExactReverseVarianceLiesBetweenBetaTildeAndBeta) {  // DDPM Sec. 3.2
  const Schedule s = linear();
  const int64_t k = 1;
  const double beta = s.beta(k), before = product(s, k - 1);
  const auto reverse = [&](double data) {  // data N(0, data), x_t = 0.4
    return moments(
               [&](double y) {
                 return normal(0.4, std::sqrt(1 - beta) * y, beta) *
                        normal(y, 0, before * data + 1 - before);
               },
               -4, 4)
        .variance;
  };
  const double tilde = posterior(s.level(k), s.level(k - 1)).variance;
  expect_verdict(reverse(1), beta, tilde, 1e-12, 6e-5);  // standard normal data
  expect_verdict(reverse(0), tilde, beta, 1e-12, 6e-5);  // one point
  EXPECT_GT(reverse(1e-4), tilde + 1e-5);                // in between
  EXPECT_LT(reverse(1e-4), beta - 1e-5);
  EXPECT_NEAR(step_variance(s.level(k), s.level(k - 1)), reverse(1), 1e-12);
}

TEST(Errata, AncestralNoiseIsMultipliedByAStandardDeviation) {  // DDPM Alg. 2
  // The whole chain on data N(0, 1/4), whose E[x_0 | x_t] is a C x_t / (a^2 C + s^2).
  const Schedule s = linear();
  const double data = 0.25;
  double right = 1, wrong = 1;
  for (int64_t k = 999; k >= 0; --k) {
    const Posterior q = posterior(s.level(k), s.level(k - 1));
    const double a = s.level(k).alpha, noise = s.one_minus_alpha_cumprod(k);
    const double slope = q.c0 * a * data / (a * a * data + noise) + q.c1;
    right = square(slope) * right + square(std::sqrt(q.variance));
    wrong = square(slope) * wrong + square(q.variance);
  }
  expect_verdict(data, right, wrong, 0.005, 0.1);
}

TEST(Errata, ANormalInDDimensionsHasTheRootToTheD) {
  const double variance = 0.25;
  const auto mass = [&](double factor) {
    return integral(
        [&](double x) {
          const auto inner = [&](double y) {
            return factor * std::exp(-(x * x + y * y) / (2 * variance));
          };
          return integral(inner, -5, 5, 100);
        },
        -5, 5, 100);
  };
  const double pi = std::numbers::pi;
  expect_verdict(1, mass(1 / (2 * pi * variance)), mass(1 / std::sqrt(2 * pi * variance)), 1e-9,
                 0.2);
  const Tensor point = at::tensor({0.3, -0.2}, at::kDouble);
  const Gaussian both{at::zeros({2}, at::kDouble), at::full({2}, std::log(variance), at::kDouble)};
  const double density = std::exp(-(0.09 + 0.04) / (2 * variance)) / (2 * pi * variance);
  EXPECT_NEAR(log_density(both, point).sum().item<double>(), std::log(density), 1e-12);
}

TEST(Errata, TheScoreIsAnAverageOverAllNoisesThatLeadHere) {  // SDE Sec. 2.1
  // Data -1 and 1/2, half each: q(x_t) is no Gaussian though q(x_t | x_0) is.
  const Level at = linear().level(499);
  const double variance = square(at.sigma), x = 0.1;
  const auto from = [&](double x0, double y) { return normal(y, at.alpha * x0, variance); };
  const double truth =
      derivative([&](double y) { return std::log(from(-1, y) + from(0.5, y)); }, x);
  const auto eps = [&](double x0) { return (x - at.alpha * x0) / at.sigma; };
  const double share = from(-1, x) / (from(-1, x) + from(0.5, x));
  const double mean_eps = share * eps(-1) + (1 - share) * eps(0.5);
  expect_verdict(truth, -mean_eps / at.sigma, -eps(-1) / at.sigma, 1e-9, 0.1);
  EXPECT_NEAR(-believed_eps(x, at) / at.sigma, truth, 1e-9);
}

TEST(Errata, TheBestPredictionOfNoiseIsItsMean) {  // DDPM Eq. 14
  // The same data and x_t: the squared error of one answer is least at E[eps | x_t].
  const Level at = linear().level(499);
  const double x = 0.1, low = (x + at.alpha) / at.sigma, high = (x - at.alpha / 2) / at.sigma;
  const double w_low = normal(x, -at.alpha, square(at.sigma));
  const double w_high = normal(x, at.alpha / 2, square(at.sigma));
  double best = 0, least = 1e9;
  for (double answer = -2; answer <= 2; answer += 1e-4) {
    const double error = w_low * square(low - answer) + w_high * square(high - answer);
    if (error < least) least = error, best = answer;
  }
  const double mean = (w_low * low + w_high * high) / (w_low + w_high);
  expect_verdict(best, mean, w_low > w_high ? low : high, 1e-4, 0.1);  // not the likeliest noise
  EXPECT_NEAR(believed_eps(x, at), mean, 1e-12);
}

}  // namespace tweedie

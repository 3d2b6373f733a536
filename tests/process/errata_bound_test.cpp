// The proofs of docs/errata.md: variational bound and guidance. Those of the bound end with the
// library's own number.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/support/verdict.h"
#include "tweedie/core/rng.h"
#include "tweedie/process/bound.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

using testing::derivative;
using testing::expect_verdict;
using testing::integral;
using testing::log_normal;
using testing::moments;
using testing::normal;
using testing::square;

constexpr double kData = 0.25;  // data N(0, 1/4), where all that follows is Gaussian

Schedule linear(int64_t T, double start, double end) {
  ProcessOptions options;
  options.num_train_timesteps = T;
  options.beta_start = start;
  options.beta_end = end;
  return Schedule(make_betas(options));
}

double marginal(const Schedule& s, int64_t k) {  // variance of q(x_k)
  return s.alpha_cumprod(k) * kData + s.one_minus_alpha_cumprod(k);
}

double entropy(double variance) {
  return std::log(2 * std::numbers::pi * std::numbers::e * variance) / 2;
}

// The terms of the bound in nats, averaged over data and noise, where p(x_{t-1} | x_t) is the exact
// reverse of q and p(x_T) is N(0, prior).
struct Bound {
  double prior = 0, middle = 0, decoder = 0;
};
Bound exact_bound(const Schedule& s, double prior) {
  Bound bound;
  const int64_t last = s.size() - 1;
  const double noise = s.one_minus_alpha_cumprod(last);
  bound.prior = (std::log(prior / noise) - 1 + marginal(s, last) / prior) / 2;  // DDPM Eq. 5
  for (int64_t k = 1; k <= last; ++k) {
    const Posterior q = posterior(s.level(k), s.level(k - 1));
    const double v = s.beta(k) * marginal(s, k - 1) / marginal(s, k);
    const double unknown = kData * s.one_minus_alpha_cumprod(k) / marginal(s, k);  // Var[x_0 | x_t]
    bound.middle += (std::log(v / q.variance) - 1 + (q.variance + square(q.c0) * unknown) / v) / 2;
  }
  bound.decoder = entropy(kData * s.one_minus_alpha_cumprod(0) / marginal(s, 0));
  return bound;
}

// The library's bound along a schedule, p(x_0|x_1) a density and each variance the network's.
VariationalBound library_bound(const Schedule& s) {
  std::vector<Level> levels;
  for (int64_t k = s.size() - 1; k >= -1; --k) levels.push_back(s.level(k));
  return {levels, "learned", Decoder::kContinuous};
}

Tensor number(double x) { return at::full({1, 1}, x, at::kDouble); }

// What the exact model of these data says at x_k: E[x_0|x_k], and the log variance of its step.
Estimate exact_belief(const Schedule& s, int64_t k, double x) {
  const double before = k > 0 ? marginal(s, k - 1) : kData;
  const double variance = s.beta(k) * before / marginal(s, k);
  const double x0 = s.level(k).alpha * kData / marginal(s, k) * x;
  return {number(x0), {}, number(std::log(variance))};
}

// Its total in nats. All terms are quadratic in x_0 and eps, which at plus and minus one standard
// deviation have the mean of all.
double library_total(const Schedule& s) {
  const VariationalBound bound = library_bound(s);
  double bits = 0;
  for (const double x0 : {-std::sqrt(kData), std::sqrt(kData)}) {
    bits += bound.prior(number(x0)).item<double>() / 2;
    for (const double eps : {-1., 1.})
      for (int64_t k = 0; k < s.size(); ++k) {
        const Level at = s.level(k);
        const Estimate e = exact_belief(s, k, at.alpha * x0 + at.sigma * eps);
        bits += bound.term(e, number(x0), at::full({1}, k, at::kLong)).item<double>() / 4;
      }
  }
  return bits * std::numbers::ln2;
}

// Two classes, N(-1/2, 1/25) and N(1/2, 1/25), and their densities at a level.
struct Classes {
  Level at;
  double log_density(int y, double x) const {
    return log_normal(x, at.alpha * (y ? 0.5 : -0.5), square(at.alpha) * 0.04 + square(at.sigma));
  }
  double log_density(double x) const {
    return std::log((std::exp(log_density(0, x)) + std::exp(log_density(1, x))) / 2);
  }
  double score(int y, double x) const {
    return derivative([&](double u) { return log_density(y, u); }, x);
  }
  double score(double x) const {
    return derivative([&](double u) { return log_density(u); }, x);
  }
  /// grad ln p(y = 1 | x_t)
  double gradient(double x) const { return score(1, x) - score(x); }
};

constexpr int64_t kStep = 499;

// The mean of q(x_{t-1} | x_t, y = 1) on a grid, by Bayes' rule.
double guided_mean(const Schedule& s, double x) {
  const Classes before{s.level(kStep - 1)};
  const double beta = s.beta(kStep);
  const auto density = [&](double u) {
    return std::exp(before.log_density(1, u)) * normal(x, std::sqrt(1 - beta) * u, beta);
  };
  return moments(density, -8, 8).mean;
}

}  // namespace

TEST(Errata, TheBoundIsASumOfLogarithms) {  // DDPM Eq. 3
  // With the exact reverse every draw of the sum is -ln q(x_0) itself.
  const Schedule s = linear(10, 0.01, 0.4);
  Rng rng(1);
  const VariationalBound bound = library_bound(s);
  for (int draw = 0; draw < 20; ++draw) {
    double x = std::sqrt(kData) * rng.normal();
    const double truth = -log_normal(x, 0, kData);
    double right = 0, wrong = 0;
    std::vector<double> way = {x};
    for (int64_t k = 0; k < s.size(); ++k) {
      const double beta = s.beta(k), before = k ? marginal(s, k - 1) : kData;
      const double ratio = before / marginal(s, k);
      const double next = std::sqrt(1 - beta) * x + std::sqrt(beta) * rng.normal();
      const double q = log_normal(next, std::sqrt(1 - beta) * x, beta);
      const double p = log_normal(x, std::sqrt(1 - beta) * ratio * next, beta * ratio);
      right += q - p, wrong += std::exp(q - p);
      x = next;
      way.push_back(x);
    }
    const double prior = -log_normal(x, 0, marginal(s, s.size() - 1));
    expect_verdict(truth, prior + right, prior + wrong, 1e-9, 0.5);
    // The same sum as the library's terms by one draw have it, z leading along the way.
    const Level last = s.level(s.size() - 1);
    double bits = bound.term(exact_belief(s, 0, way[1]), number(way[0]), at::zeros({1}, at::kLong))
                      .item<double>();
    for (int64_t k = 1; k < s.size(); ++k) {
      const Posterior q = posterior(s.level(k), s.level(k - 1));
      const double z = (way[k] - q.c0 * way[0] - q.c1 * way[k + 1]) / std::sqrt(q.variance);
      bits += bound
                  .monte_carlo_term(exact_belief(s, k, way[k + 1]), number(way[0]),
                                    at::full({1}, k, at::kLong), number(z))
                  .item<double>();
    }
    const double found =
        prior + log_normal(x, last.alpha * way[0], square(last.sigma)) + bits * std::numbers::ln2;
    EXPECT_NEAR(found, truth, 1e-9);
  }
}

TEST(Errata, TheBoundHasAPriorAndADecoderBesideTheDivergences) {  // DDPM Eq. 5
  const Schedule s = linear(50, 2e-3, 0.4);
  const Bound bound = exact_bound(s, marginal(s, 49));
  expect_verdict(entropy(kData), bound.prior + bound.middle + bound.decoder, bound.middle, 1e-9, 1);
  // The divergence that would stand for the decoder: q(x_0 | x_1, x_0) is a point.
  EXPECT_TRUE(std::isinf(std::log(0.01 / posterior(s.level(0), Level{}).variance)));
  EXPECT_NEAR(library_total(s), entropy(kData), 1e-9);
}

TEST(Errata, WithoutThePriorTermItIsNoBound) {  // DDPM Eq. 5
  const Schedule s = linear(100, 1e-4, 0.02);   // stops at abar 0.364
  const Bound bound = exact_bound(s, 1);
  const double truth = entropy(kData);
  EXPECT_GT(bound.prior + bound.middle + bound.decoder, truth);
  EXPECT_LT(bound.middle + bound.decoder, truth - 0.06);
  EXPECT_NEAR(library_total(s), bound.prior + bound.middle + bound.decoder, 1e-9);
}

TEST(Errata, TheTermsOfTheBoundAreAveragesOverData) {  // DDPM Eq. 5
  const Schedule s = linear(1000, 1e-4, 0.02);
  const double abar = s.alpha_cumprod(999), variance = s.one_minus_alpha_cumprod(999);
  const auto divergence = [&](double x0) {  // KL(q(x_T | x_0) || N(0,1)) by quadrature
    const auto term = [&](double x) {
      const double mean = std::sqrt(abar) * x0;
      return normal(x, mean, variance) * (log_normal(x, mean, variance) - log_normal(x, 0, 1));
    };
    return integral(term, -12, 12) / std::numbers::ln2;
  };
  const double truth = integral([&](double x0) { return normal(x0, 0, 1) * divergence(x0); }, -8, 8,
                                100);  // standard normal data
  const double closed = (abar * (1 - 1) - std::log1p(-abar)) / 2 / std::numbers::ln2;
  expect_verdict(truth, closed, divergence(0), 1e-10, 2e-5);
  EXPECT_NEAR(divergence(1), 2.91129454203079e-5, 1e-10);
  for (const double x0 : {0., 1.})
    EXPECT_NEAR(library_bound(s).prior(number(x0)).item<double>(), divergence(x0), 1e-10);
}

TEST(Errata, TheSimpleLossIsAnAverageOverT) {  // DDPM Eq. 14
  // E[eps | x_t] of the exact model leaves the variance a^2 C / V of eps.
  const Schedule s = linear(1000, 1e-4, 0.02);
  const auto error = [&](int64_t k) { return s.alpha_cumprod(k) * kData / marginal(s, k); };
  double mean = 0, sampled = 0, squares = 0;
  for (int64_t k = 0; k < 1000; ++k) mean += error(k) / 1000;
  const int n = 200000;
  Rng rng(2);
  for (int i = 0; i < n; ++i) {
    const auto k = static_cast<int64_t>(rng.below(1000));
    const Level at = s.level(k);
    const double x0 = std::sqrt(kData) * rng.normal(), eps = rng.normal();
    const double x = at.alpha * x0 + at.sigma * eps;
    const double loss = square(eps - at.sigma * x / marginal(s, k));
    sampled += loss / n, squares += loss * loss / n;
  }
  const double standard_error = std::sqrt((squares - square(sampled)) / n);
  expect_verdict(sampled, mean, error(499), 4 * standard_error, 0.1);
}

TEST(Errata, ClassifierGradientIsSubtractedFromEps) {  // ADM Alg. 2
  const Classes classes{linear(1000, 1e-4, 0.02).level(kStep)};
  const double x = 0.2, sigma = classes.at.sigma;
  const double eps = -sigma * classes.score(x), g = classes.gradient(x);
  expect_verdict(-sigma * classes.score(1, x), eps - sigma * g, eps + sigma * g, 1e-10, 0.1);
}

TEST(Errata, GuidanceMovesTheMeanByBetaTimesTheGradient) {  // DDPM Eq. 11 and ADM Alg. 2
  const Schedule s = linear(1000, 1e-4, 0.02);
  const Classes classes{s.level(kStep)};
  const double x = 0.2, beta = s.beta(kStep), sigma = classes.at.sigma;
  const double eps = -sigma * classes.score(x), g = classes.gradient(x);
  const double right = (x - beta / sigma * eps + beta * g) / std::sqrt(1 - beta);
  const double wrong = (x - beta / sigma * eps + sigma * g) / std::sqrt(1 - beta);
  expect_verdict(guided_mean(s, x), right, wrong, 1e-9, 0.05);
  for (const auto& [k, factor] : {std::pair<int64_t, double>{1, 123.7}, {kStep, 95.6}, {999, 50}})
    EXPECT_NEAR(s.level(k).sigma / s.beta(k), factor, 0.1);
}

TEST(Errata, ShiftsOfMeanAndOfEpsDifferByTheRootOfAlpha) {  // ADM Alg. 1 and Alg. 2
  const Schedule s = linear(1000, 1e-4, 0.02);
  const Classes classes{s.level(kStep)};
  const double x = 0.2, beta = s.beta(kStep), sigma = classes.at.sigma;
  const double eps = -sigma * classes.score(x), g = classes.gradient(x);
  const auto mean = [&](double e) { return (x - beta / sigma * e) / std::sqrt(1 - beta); };
  const double of_eps = mean(eps - sigma * g), of_mean = mean(eps) + beta * g;
  expect_verdict(guided_mean(s, x), of_eps, of_mean, 1e-9, 2e-6);
  EXPECT_NEAR((of_eps - mean(eps)) / (of_mean - mean(eps)), 1 / std::sqrt(1 - beta), 1e-9);
}

TEST(Errata, TheClassifierMustHaveSeenTheNoise) {  // ADM Sec. 4.1
  const Classes clean{{1, 0}}, noised{linear(1000, 1e-4, 0.02).level(kStep)};
  const double x = 0;
  const auto probability = [&](double u) {  // p(y = 1 | x_t) as the mean of p(y | x_0)
    const auto joint = [&](double x0) {
      return std::exp(clean.log_density(x0)) *
             normal(u, noised.at.alpha * x0, square(noised.at.sigma));
    };
    const auto with_class = [&](double x0) {
      return joint(x0) * std::exp(clean.log_density(1, x0) - clean.log_density(x0)) / 2;
    };
    return integral(with_class, -3, 3, 1000) / integral(joint, -3, 3, 1000);
  };
  const double truth = derivative([&](double u) { return std::log(probability(u)); }, x, 1e-3);
  expect_verdict(truth, noised.gradient(x), clean.gradient(x), 1e-8, 10);
  // The logit's slope on clean images is 82 times too steep here.
  const auto slope = [](const Classes& c) { return c.score(1, 0.0) - c.score(0, 0.0); };
  EXPECT_NEAR(slope(clean) / slope(noised), 82.4, 0.2);
}

TEST(Errata, TheTwoScalesOfClassifierFreeGuidanceDifferByOne) {  // CFG Eq. 6
  const Classes classes{linear(1000, 1e-4, 0.02).level(kStep)};
  const double x = 0.2, w = 1.5, sigma = classes.at.sigma;
  // What w asks for: p(x | y) p(y | x)^w.
  const auto sharpened = [&](double u) {
    return classes.log_density(1, u) + w * (classes.log_density(1, u) - classes.log_density(u));
  };
  const double given = -sigma * classes.score(1, x), not_given = -sigma * classes.score(x);
  const auto guided = [&](double g) { return not_given + g * (given - not_given); };
  expect_verdict(-sigma * derivative(sharpened, x), guided(w + 1), guided(w), 1e-10, 0.1);
  EXPECT_NEAR((1 + w) * given - w * not_given, guided(w + 1), 1e-12);
}

}  // namespace tweedie

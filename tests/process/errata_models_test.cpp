// The proofs of docs/errata.md: information theory, the models that diffusion is compared with, and
// metrics. What the library has of it, of Gaussians, ends its proof.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/verdict.h"
#include "tweedie/process/gaussian.h"
#include "tweedie/process/mixture.h"

namespace tweedie {
namespace {

using testing::derivative;
using testing::expect_verdict;
using testing::integral;
using testing::log_normal;
using testing::normal;
using testing::square;

using Shares = std::vector<double>;

template <class Term>
double sum_over(const Shares& p, Term&& term) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += term(i);
  return sum;
}

double entropy(const Shares& p) {  // nats
  return -sum_over(p, [&](size_t i) { return p[i] * std::log(p[i]); });
}

double divergence(const Shares& p, const Shares& q) {  // nats
  return sum_over(p, [&](size_t i) { return p[i] * std::log(p[i] / q[i]); });
}

Gaussian gaussian(double mean, double variance) {
  return {at::full({1, 1}, mean, at::kDouble), at::full({1, 1}, std::log(variance), at::kDouble)};
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return std::log1p(std::exp(x)); }

// What the best classifier between p and q, told apart point by point, achieves.
struct Discriminator {
  Shares share;  // of real at each point, found by search
  double value = 0, accuracy = 0;
};
Discriminator best_discriminator(const Shares& p, const Shares& q) {
  Discriminator best;
  for (size_t i = 0; i < p.size(); ++i) {
    double top = -1e9, share = 0;
    for (double f = 1e-4; f < 1; f += 1e-4) {
      const double value = p[i] * std::log(f) + q[i] * std::log(1 - f);
      if (value > top) top = value, share = f;
    }
    best.share.push_back(share);
    best.value += top;
    best.accuracy += (share > 0.5 ? p[i] : q[i]) / 2;
  }
  return best;
}

}  // namespace

TEST(Errata, BayesRuleDividesByTheEvidence) {
  const double joint[2][2] = {{0.3, 0.1}, {0.2, 0.4}};  // [a][b]
  const double p_a = joint[0][0] + joint[0][1], p_b = joint[0][1] + joint[1][1];
  const double b_given_a = joint[0][1] / p_a, a_given_b = joint[0][1] / p_b;
  expect_verdict(a_given_b, p_a * b_given_a / p_b, p_a * b_given_a * p_b, 1e-15, 0.1);
  // Of z ~ N(0.2, 1) once y = 0.7 z + noise of variance 1/4 is seen to be 0.9.
  const auto both = [](double z) { return normal(0.9, 0.7 * z, 0.25) * normal(z, 0.2, 1); };
  const testing::Moments given = testing::moments(both, -9, 9);
  const Gaussian found = posterior(gaussian(0.2, 1), at::full({1, 1}, 0.9, at::kDouble), 0.7, 0.25);
  EXPECT_NEAR(found.mean.item<double>(), given.mean, 1e-10);
  EXPECT_NEAR(found.log_variance.item<double>(), std::log(given.variance), 1e-10);
}

TEST(Errata, EntropyHasAMinusSign) {
  // The code 0, 10, 11 is ideal for halves and quarters: its mean length is the entropy.
  const Shares p = {0.5, 0.25, 0.25};
  const double length = 0.5 * 1 + 0.25 * 2 + 0.25 * 2;
  const double sum = sum_over(p, [&](size_t i) { return p[i] * std::log2(p[i]); });
  expect_verdict(length, -sum, sum, 1e-15, 2);
  const auto term = [](double x) { return -normal(x, 0.3, 0.04) * log_normal(x, 0.3, 0.04); };
  EXPECT_NEAR(entropy(gaussian(0.3, 0.04)).item<double>(), integral(term, -3, 3), 1e-10);
}

TEST(Errata, BothLogarithmsOfADivergenceHaveOneBase) {
  // The cost of q's ideal code, of lengths 2, 2, 1, for symbols that follow p, less p's own.
  const Shares p = {0.5, 0.25, 0.25}, q = {0.25, 0.25, 0.5};
  const double extra = (0.5 * 2 + 0.25 * 2 + 0.25 * 1) - 1.5;
  const auto mixed = [](const Shares& p, const Shares& q) {
    return sum_over(p, [&](size_t i) { return p[i] * (std::log2(p[i]) - std::log(q[i])); });
  };
  expect_verdict(extra, divergence(p, q) / std::numbers::ln2, mixed(p, q), 1e-15, 0.4);
  expect_verdict(0, divergence(p, p), mixed(p, p), 1e-15, 0.4);
  const auto term = [](double x) {
    return normal(x, 0.3, 0.04) * (log_normal(x, 0.3, 0.04) - log_normal(x, -0.1, 0.5));
  };
  const Tensor nats = kl_divergence(gaussian(0.3, 0.04), gaussian(-0.1, 0.5));
  EXPECT_NEAR(nats.item<double>(), integral(term, -3, 3), 1e-10);
}

TEST(Errata, NatsAreDividedByLnTwo) {
  const Shares p = {0.5, 0.25, 0.25};
  expect_verdict(1.5, entropy(p) / std::numbers::ln2, entropy(p), 1e-15, 0.4);  // bits of the code
  const Tensor nats = at::full({1, 3}, entropy(p), at::kDouble);  // of each of three dimensions
  EXPECT_NEAR(bits_per_dim(nats).item<double>(), 1.5, 1e-14);
}

TEST(Errata, TheEvidenceIsAnIntegralOverTheLatent) {
  // z ~ N(0,1) and x = z + noise of variance 1/4: x ~ N(0, 5/4).
  const double x = 0.8, z = 0.6;
  const auto joint = [&](double u) { return normal(x, u, 0.25) * normal(u, 0, 1); };
  expect_verdict(normal(x, 0, 1.25), integral(joint, -9, 9), z * joint(z), 1e-12, 0.1);
  const GaussianMixture latent{{1}, at::zeros({1, 1}, at::kDouble), {1}};
  const Tensor found = mixture_log_density(latent, at::full({1, 1}, x, at::kDouble), {1, 0.5});
  EXPECT_NEAR(std::exp(found.item<double>()), integral(joint, -9, 9), 1e-12);
}

TEST(Errata, TheOptimalDiscriminatorIsAtOneHalfInBalance) {  // GAN Prop. 1 and Thm. 1
  const Shares p = {0.5, 0.3, 0.2}, q = {0.2, 0.2, 0.6};
  const Discriminator apart = best_discriminator(p, q), balanced = best_discriminator(p, p);
  for (size_t i = 0; i < p.size(); ++i) {
    EXPECT_NEAR(apart.share[i], p[i] / (p[i] + q[i]), 1e-4);
    EXPECT_NEAR(balanced.share[i], 0.5, 1e-4);
  }
  EXPECT_NEAR(balanced.value, -std::log(4), 1e-7);
  EXPECT_NEAR(balanced.accuracy, 0.5, 1e-12);
  // Failing more than half the time cannot be the end: turned round, it would succeed.
  EXPECT_GT(apart.accuracy, 0.5);
}

TEST(Errata, OnlyTheSaturatingLossStarvesTheGenerator) {  // GAN Sec. 3
  const double logit = -8;  // the discriminator is sure that a sample is fake
  const double saturating = derivative([](double l) { return -softplus(l); }, logit);
  const double other = derivative([](double l) { return softplus(-l); }, logit);
  EXPECT_NEAR(saturating, -sigmoid(logit), 1e-10);
  EXPECT_NEAR(other, -sigmoid(-logit), 1e-10);
  EXPECT_LT(std::abs(saturating), 4e-4);
  EXPECT_GT(std::abs(other), 0.999);
}

TEST(Errata, TheEncoderGivesALogVarianceAndThePriorIsStandard) {  // VAE App. B
  const double mean = 0.5, log_variance = -1;
  const auto kl = [&](double prior_mean, double prior_variance) {
    const double variance = std::exp(log_variance);
    const auto term = [&](double z) {
      return normal(z, mean, variance) *
             (log_normal(z, mean, variance) - log_normal(z, prior_mean, prior_variance));
    };
    return integral(term, -9, 9);
  };
  const auto formula = [&](double l) { return (mean * mean + std::exp(l) - 1 - l) / 2; };
  const double deviation = std::exp(log_variance / 2);
  expect_verdict(kl(0, 1), formula(log_variance), formula(deviation), 1e-10, 0.05);
  EXPECT_GT(std::abs(kl(1, 2) - formula(log_variance)), 0.1);  // "a normal" is not enough
  const Gaussian code = gaussian(mean, std::exp(log_variance));
  EXPECT_NEAR(kl_divergence(code, gaussian(0, 1)).item<double>(), kl(0, 1), 1e-10);
  const Tensor z = draw(code, at::full({1, 1}, -1.3, at::kDouble));
  EXPECT_NEAR(z.item<double>(), mean - 1.3 * std::exp(log_variance / 2), 1e-14);
}

TEST(Errata, ALatentLossOfZeroLeavesNothingInTheCode) {  // VAE Eq. 3
  // x is -1 or 1, its code N(m x, 1). KL(q(z|x) || N(0,1)) = m^2/2 bounds what z tells of x.
  const auto information = [](double m) {  // nats, by quadrature
    const auto marginal = [&](double z) { return (normal(z, -m, 1) + normal(z, m, 1)) / 2; };
    const auto term = [&](double z) {
      return normal(z, m, 1) * (log_normal(z, m, 1) - std::log(marginal(z)));
    };
    return integral(term, m - 9, m + 9);
  };
  for (const double m : {0.1, 1.0, 2.0}) EXPECT_LT(information(m), m * m / 2);
  EXPECT_NEAR(information(0), 0, 1e-12);
  EXPECT_GT(information(2), 0.6);  // of ln 2 = 0.693
}

TEST(Errata, AOneHotPosteriorCostsTheLogarithmOfTheBookWhateverItSays) {  // VQ Sec. 3.1
  const int J = 512;
  for (const int code : {0, 17, 511}) {
    Shares one_hot(J, 0), uniform(J, 1.0 / J);
    one_hot[code] = 1;
    const double cost = sum_over(one_hot, [&](size_t i) {
      return one_hot[i] > 0 ? one_hot[i] * std::log(one_hot[i] / uniform[i]) : 0;
    });
    EXPECT_NEAR(cost, 6.238324625039508, 1e-12);
  }
}

TEST(Errata, InceptionScoreComparesWithTheMarginal) {  // IS Sec. 4
  const std::vector<Shares> given = {{0.9, 0.1}, {0.2, 0.8}};
  Shares marginal(2, 0);
  for (const Shares& p : given)
    for (size_t y = 0; y < p.size(); ++y) marginal[y] += p[y] / given.size();
  double right = 0, wrong = 0, conditional = 0;
  for (const Shares& p : given) {
    right += divergence(p, marginal) / given.size();
    wrong += divergence(p, p) / given.size();  // one image's own answer for the marginal
    conditional += entropy(p) / given.size();
  }
  // What an image tells of its class: the entropy of all less that of each.
  const double truth = std::exp(entropy(marginal) - conditional);
  expect_verdict(truth, std::exp(right), std::exp(wrong), 1e-12, 0.3);
  EXPECT_NEAR(std::exp(right), 1.31705227604368, 1e-12);
}

TEST(Errata, FrechetInceptionDistanceIsASquaredDistance) {  // FID Eq. 6
  const auto fid = [](double m1, double s1, double m2, double s2) {
    return square(m1 - m2) + s1 * s1 + s2 * s2 - 2 * s1 * s2;
  };
  // Transport of N(m1, s1^2) to N(m2, s2^2) at equal quantiles: its mean squared way.
  const double m1 = 0.3, s1 = 1.5, m2 = -1, s2 = 0.4;
  const auto way = [&](double z) { return normal(z, 0, 1) * square(m1 + s1 * z - m2 - s2 * z); };
  const double squared = integral(way, -9, 9);
  expect_verdict(squared, fid(m1, s1, m2, s2), std::sqrt(fid(m1, s1, m2, s2)), 1e-10, 1);
  // As a distance it would break the triangle's rule.
  EXPECT_GT(fid(0, 1, 2, 1), fid(0, 1, 1, 1) + fid(1, 1, 2, 1));
}

}  // namespace tweedie

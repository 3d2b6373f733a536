#include "tweedie/process/bound.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "tests/support/errors.h"
#include "tweedie/core/rng.h"
#include "tweedie/process/mixture.h"
#include "tweedie/process/process.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

const double kLn2 = std::log(2);

ProcessOptions with(const std::string& schedule) {
  ProcessOptions options;
  options.beta_schedule = schedule;
  options.clip_sample = false;
  return options;
}

VariationalBound bound_of(const Process& process, const std::string& variance_type,
                          Decoder decoder = Decoder::kDiscretised) {
  return {process.levels(process.schedule().size()), variance_type, decoder};
}

Tensor pixel(double x) { return at::full({1, 1, 1, 1}, x, at::kDouble); }
Tensor step(int64_t k) { return at::full({1}, k, at::kLong); }
Estimate believing(double x0, Tensor log_variance = {}) { return {pixel(x0), {}, log_variance}; }

// The sum over the papers' t >= 2 for one pixel, in nats, when X is `x0_hat(k)`.
double middle(const Process& process, const std::string& type, double x0,
              const std::function<double(int64_t k)>& x0_hat, Tensor log_variance = {}) {
  const VariationalBound bound = bound_of(process, type);
  double sum = 0;
  for (int64_t k = 1; k < bound.size(); ++k)
    sum += bound.term(believing(x0_hat(k), log_variance), pixel(x0), step(k)).item<double>();
  return sum * kLn2;
}

double decoder(const Process& process, const std::string& type, int level, double x0_hat,
               Tensor log_variance = {}) {
  return bound_of(process, type)
      .term(believing(x0_hat, log_variance), pixel(level / 127.5 - 1), step(0))
      .item<double>();
}

double square(double x) { return x * x; }

// Each path with a prediction that has an x_0 where no signal is left.
Process on_path(const std::string& path) {
  ProcessOptions options = with("linear");
  options.path = path, options.prediction_type = path == "edm" ? "edm" : "flow_prediction";
  return Process(options);
}

VariationalBound density_bound(const Process& process) {
  return {process.levels(process.schedule().size()), "fixed_small", Decoder::kContinuous,
          data_variance(process.options(), process.schedule().level(0), Decoder::kContinuous)};
}

constexpr double kMean = 0.3, kVariance = 0.25;  // of one Gaussian number, the data

// The terms' means over these data and noise, where the belief is the exact one: bits, by step.
// Terms are quadratic in x_0 and eps, so that the corners at one standard deviation have the mean
// of all.
std::vector<double> mean_terms(const Process& process, const VariationalBound& bound) {
  std::vector<double> x0, alpha, sigma, x;
  std::vector<int64_t> k;
  for (int64_t i = 0; i < bound.size(); ++i)
    for (const double of_x0 : {-1, 1})
      for (const double eps : {-1, 1}) {
        const Level at = process.schedule().level(i);
        k.push_back(i), alpha.push_back(at.alpha), sigma.push_back(at.sigma);
        x0.push_back(kMean + of_x0 * std::sqrt(kVariance));
        x.push_back(at.alpha * x0.back() + at.sigma * eps);
      }
  const auto column = [](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble).view({-1, 1});
  };
  const GaussianMixture data{{1}, at::full({1, 1}, kMean, at::kDouble), {kVariance}};
  const Estimate e = mixture_estimate(data, column(x), at::tensor(alpha, at::kDouble),
                                      at::tensor(sigma, at::kDouble));
  const Tensor terms = bound.term(e, column(x0), at::tensor(k, at::kLong)).view({-1, 4}).mean(1);
  return {terms.data_ptr<double>(), terms.data_ptr<double>() + terms.numel()};
}

}  // namespace

TEST(Bound, PriorAgreesWithFortyDigits) {
  const VariationalBound bound = bound_of(Process(with("linear")), "fixed_small");
  EXPECT_NEAR(bound.prior(pixel(0)).item<double>(), 5.874784100831e-10, 1e-20);
  EXPECT_NEAR(bound.prior(pixel(.5)).item<double>(), 7.27867696388454e-6, 1e-16);
  EXPECT_NEAR(bound.prior(pixel(-1)).item<double>(), 2.91129454203079e-5, 1e-15);
}

// N(0, I) stands at the end of a path without signal; where alpha stays 1, N(0, sigma_T^2 I).
TEST(Bound, PriorOfTheOtherPathsIsThatOfTheNoiseTheyBeginWith) {
  const VariationalBound edm = density_bound(on_path("edm")), flow = density_bound(on_path("flow"));
  for (const double x0 : {0., -0.5, 1.}) {
    EXPECT_NEAR(edm.prior(pixel(x0)).item<double>(), x0 * x0 / (2 * 80 * 80) / kLn2, 1e-15);
    EXPECT_EQ(flow.prior(pixel(x0)).item<double>(), 0);
  }
}

// DDPM Eq. 5: q by Bayes' rule from x_(k-1) given x_0 and x_k given x_(k-1), p the same about the
// belief, and the textbook's divergence of these two Gaussians.
TEST(Bound, ATermIsTheDivergenceOfTheTwoGaussians) {
  for (const char* path : {"vp", "edm", "flow"})
    for (const int64_t k : {1, 499, 999}) {
      SCOPED_TRACE(formatted("{} {}", path, k));
      const Process process = on_path(path);
      const Level at = process.schedule().level(k), next = process.schedule().level(k - 1);
      const double x0 = 0.3, believed = -0.1, x_t = 0.8, learned = 0.4;
      const double kept = at.alpha / next.alpha;
      const double beta = square(at.sigma) - square(kept * next.sigma);
      const double small = 1 / (1 / square(next.sigma) + square(kept) / beta);
      const auto mean = [&](double of) {
        return small * (next.alpha * of / square(next.sigma) + kept * x_t / beta);
      };
      const auto divergence = [&](double variance_p) {
        return (std::log(variance_p / small) - 1 + small / variance_p +
                square(mean(x0) - mean(believed)) / variance_p) /
               2 / kLn2;
      };
      const auto expect_term = [&](const char* type, double variance_p) {
        const double found = bound_of(process, type)
                                 .term(believing(believed, pixel(learned)), pixel(x0), step(k))
                                 .item<double>();
        // The logarithm of a ratio near 1 is known to 1e-16, not to 1e-9 of itself.
        EXPECT_NEAR(found, divergence(variance_p), 1e-9 * divergence(variance_p) + 1e-15) << type;
      };
      const double share = (learned + 1) / 2;
      expect_term("fixed_small", small);
      expect_term("fixed_large", beta);
      expect_term(
          "learned_range",
          std::exp(share * std::log(beta) + (1 - share) * std::log(small)));  // IDDPM Eq. 15
      expect_term("learned", std::exp(learned));
    }
}

// VDM Sec. 3
TEST(Bound, TheDecodersVarianceIsTheSpreadOfX1ButForThePapersTables) {
  const Decoder levels = Decoder::kDiscretised, density = Decoder::kContinuous;
  ProcessOptions trained = with("linear");
  trained.trained_betas = make_betas(with("squaredcos_cap_v2"));
  for (const ProcessOptions& options :
       {with("linear"), trained, on_path("edm").options(), on_path("flow").options()}) {
    const Level first = make_schedule(options).level(0);
    const double spread = square(first.sigma / first.alpha);
    ASSERT_TRUE(data_variance(options, first, density).has_value());
    EXPECT_NEAR(*data_variance(options, first, density), spread, 1e-12 * spread);
    const bool table = options.path == "vp" && !options.trained_betas;
    ASSERT_EQ(data_variance(options, first, levels).has_value(), !table);
    if (!table) {
      EXPECT_NEAR(*data_variance(options, first, levels), spread, 1e-12 * spread);
    }
  }
}

// Data N(m, C): E[x_0|x_t] leaves the variance C sigma^2/(alpha^2 C + sigma^2), half the fall of
// the SNR weighs it (VDM Sec. 4), and -ln N(x_0; X, r_1^2) has the mean that it has.
TEST(Bound, OfAGaussianIsTheClosedFormAndAboveTheEntropy) {
  const double entropy = std::log(2 * std::numbers::pi * std::numbers::e * kVariance) / 2 / kLn2;
  for (const char* path : {"vp", "edm", "flow"}) {
    SCOPED_TRACE(path);
    const Process process = on_path(path);
    const VariationalBound bound = density_bound(process);
    const std::vector<double> terms = mean_terms(process, bound);
    double total = 0;
    for (const double x0 : {kMean - std::sqrt(kVariance), kMean + std::sqrt(kVariance)})
      total += bound.prior(pixel(x0)).item<double>() / 2;
    for (int64_t k = 0; k < bound.size(); ++k) {
      const Level at = process.schedule().level(k);
      const double signal = square(at.alpha) * kVariance, all = signal + square(at.sigma);
      const double left = kVariance * square(at.sigma) / all, r = at.sigma / at.alpha;
      const double fall = process.schedule().snr(k - 1) - process.schedule().snr(k);
      const double expected =
          k == 0 ? (std::log(2 * std::numbers::pi * r * r) + signal / all) / 2 : fall * left / 2;
      EXPECT_NEAR(terms[k], expected / kLn2, 1e-9 * std::abs(expected)) << k;
      total += terms[k];
    }
    EXPECT_GT(total, entropy);
    if (process.options().path == "edm") {
      EXPECT_LT(total, entropy + 0.13);  // whose steps are small all the way
    }
  }
}

// The step to the data has no posterior variance: IDDPM's code takes that of the next one.
TEST(Bound, TheFirstVarianceIsThatOfTheSecondStep) {
  const VariationalBound bound = bound_of(Process(with("linear")), "fixed_small");
  const auto log_variance = [](const VariationalBound& of, int64_t k) {
    return of.log_variance(believing(0), pixel(0), step(k)).item<double>();
  };
  EXPECT_NEAR(log_variance(bound, 1), std::log(5.45318766130261e-5), 1e-11);
  EXPECT_EQ(log_variance(bound, 0), log_variance(bound, 1));
  EXPECT_NEAR(log_variance(bound, 499), std::log(0.0100313554146137), 1e-11);
  ProcessOptions single = with("linear");
  single.num_train_timesteps = 1, single.trained_betas = std::vector<double>{0.25};
  EXPECT_NEAR(log_variance(bound_of(Process(single), "fixed_small"), 0), std::log(0.25), 1e-14);
}

TEST(Bound, LearnedRangeHasTheReferenceVariance) {
  const VariationalBound bound = bound_of(Process(with("linear")), "learned_range");
  const Tensor found = bound.log_variance(believing(0, pixel(0)), pixel(0), step(499));
  EXPECT_NEAR(found.item<double>(), -4.60160686337992, 1e-11);
}

// X = x_0: only L_T and L_0 are left, and the gap of a variance that is not the posterior's.
TEST(Bound, APerfectBeliefLeavesTheDecoderAndTheVarianceGap) {
  const Process linear(with("linear")), cosine(with("squaredcos_cap_v2"));
  const auto perfect = [](int64_t) { return 0.25; };
  EXPECT_EQ(middle(linear, "fixed_small", 0.25, perfect), 0);
  EXPECT_NEAR(middle(linear, "fixed_large", 0.25, perfect), 0.337160117875145, 1e-11);
  EXPECT_NEAR(middle(cosine, "fixed_large", 0.25, perfect), 0.299749180173381, 1e-11);
  for (const char* type : {"fixed_small", "fixed_large"}) {
    EXPECT_NEAR(decoder(linear, type, 100, 100 / 127.5 - 1), 1.30537765556177, 1e-11) << type;
    EXPECT_NEAR(decoder(linear, type, 0, -1), 0.509825070214975, 1e-11) << type;
  }
  // The upper end of the learned range is beta_1.
  EXPECT_NEAR(decoder(linear, "learned_range", 100, 100 / 127.5 - 1, pixel(1)), 1.71284601962349,
              1e-11);
  EXPECT_NEAR(decoder(linear, "learned_range", 255, 1, pixel(1)), 0.615886423113582, 1e-11);
}

// E = 0 is X = x_t / alpha = x_0 + eps / sqrt(SNR), and E[eps^2] = 1: VDM Sec. 4.
TEST(Bound, NoBeliefInNoiseCostsTheLogSnr) {
  for (const auto& [schedule, expected] :
       {std::pair("linear", 10.1704928737892), std::pair("squaredcos_cap_v2", 512.821610082809)}) {
    const Process process(with(schedule));
    const double sum = middle(process, "fixed_small", 0.25, [&](int64_t k) {
      const Level at = process.schedule().level(k);
      return 0.25 + at.sigma / at.alpha;  // eps = 1
    });
    EXPECT_NEAR(sum, expected, 1e-11 * expected) << schedule;
  }
  // L_0 averages over eps.
  const Process process(with("linear"));
  const Level at = process.schedule().level(0);
  double sum = 0, mass = 0;
  for (double eps = -8; eps <= 8; eps += 0.01) {
    const double weight = std::exp(-eps * eps / 2);
    mass += weight;
    sum +=
        weight * decoder(process, "fixed_small", 100, 100 / 127.5 - 1 + at.sigma / at.alpha * eps);
  }
  EXPECT_NEAR(sum / mass, 2.513611690424, 1e-9);
}

// VDM Sec. 4: half the fall of the SNR weighs (x_0 - X)^2.
TEST(Bound, WithThePosteriorsVarianceTheSnrWeighsTheError) {
  const Process process(with("squaredcos_cap_v2"));
  const auto snr = [&](int64_t k) {
    const Level at = process.schedule().level(k);
    return at.alpha * at.alpha / (at.sigma * at.sigma);
  };
  const VariationalBound bound = bound_of(process, "fixed_small");
  for (const int64_t k : {1, 10, 500, 998}) {
    const double expected = 0.5 * (snr(k - 1) - snr(k)) * 0.04 / kLn2;
    EXPECT_NEAR(bound.term(believing(0.5), pixel(0.3), step(k)).item<double>(), expected,
                1e-9 * expected)
        << k;
  }
}

TEST(Bound, AStridedChainHasTheStepsOfItsOwnList) {
  const Process process(with("linear"));
  const VariationalBound bound(process.levels(10, "trailing"), "fixed_large");
  ASSERT_EQ(bound.size(), 10);
  EXPECT_EQ(bound.timesteps()[4].item<double>(), 499);
  const Level at = process.schedule().level(499), next = process.schedule().level(399);
  const double ratio = at.alpha * at.alpha / (next.alpha * next.alpha);
  const double beta = 1 - ratio;  // VDM Sec. 3
  const double small = beta * next.sigma * next.sigma / (at.sigma * at.sigma);
  const double off = next.alpha * beta / (at.sigma * at.sigma) * 0.2;
  const double expected = (std::log(beta / small) - 1 + small / beta + off * off / beta) / 2 / kLn2;
  EXPECT_NEAR(bound.term(believing(0.5), pixel(0.3), step(4)).item<double>(), expected, 1e-12);
}

TEST(Bound, EachExampleHasItsOwnStep) {
  const Process process(with("linear"));
  const VariationalBound bound = bound_of(process, "learned_range");
  Tensor x0 = at::rand({4, 3, 2, 2}, at::kDouble) * 2 - 1;
  x0 = ((x0 + 1) * 127.5).round() / 127.5 - 1;
  const Estimate e{at::rand({4, 3, 2, 2}), {}, at::rand({4, 3, 2, 2})};
  const Tensor k = at::tensor({0, 999, 0, 37}, at::kLong), all = bound.term(e, x0, k);
  for (int64_t i = 0; i < 4; ++i) {
    const auto one = [&](const Tensor& t) { return t.narrow(0, i, 1); };
    const Tensor alone = bound.term({one(e.x0), {}, one(e.log_variance)}, one(x0), one(k));
    EXPECT_NEAR(all[i].item<double>(), alone.item<double>(), 1e-13) << i;
  }
}

// DDPM Eq. 3
TEST(Bound, OneDrawHasTheClosedFormAsItsMean) {
  const VariationalBound bound = bound_of(Process(with("linear")), "fixed_large");
  const int64_t n = 100000;
  Tensor z = at::empty({n, 1, 1, 1}, at::kFloat);
  Rng(7).fill_normal(z.data_ptr<float>(), n);
  for (const int64_t k : {1, 2, 400}) {
    const Tensor x0 = pixel(0.3).expand({n, 1, 1, 1}), steps = step(k).expand({n});
    const Estimate e{pixel(0.5).expand({n, 1, 1, 1}), {}, {}};
    const Tensor drawn = bound.monte_carlo_term(e, x0, steps, z);
    const double closed = bound.term(believing(0.5), pixel(0.3), step(k)).item<double>();
    const double error = drawn.std().item<double>() / std::sqrt(double(n));
    EXPECT_NEAR(drawn.mean().item<double>(), closed, 4 * error) << k;
    EXPECT_GT(error, 0);
  }
}

// The exact denoiser of a mixture: its bound lies above the true -log2 p, the nearer the longer the
// chain is (end points of beta scaled by 1000 / T).
TEST(Bound, LiesAboveTheTrueDensityAndComesNearerWithMoreSteps) {
  const int64_t n = 4000;
  const GaussianMixture mixture{
      {0.3, 0.7}, at::tensor({-0.6, 0.5}, at::kDouble).view({2, 1}), {0.01, 0.04}};
  Tensor x0 = at::empty({n, 1}, at::kDouble);
  double truth = 0;
  Rng rng(11);
  for (int64_t i = 0; i < n; ++i) {
    const bool first = rng.uniform() < 0.3;
    const double x = first ? -0.6 + 0.1 * rng.normal() : 0.5 + 0.2 * rng.normal();
    x0[i][0] = x;
    const auto density = [&](double mean, double variance) {
      return std::exp(-(x - mean) * (x - mean) / (2 * variance)) /
             std::sqrt(2 * std::numbers::pi * variance);
    };
    truth -= std::log2(0.3 * density(-0.6, 0.01) + 0.7 * density(0.5, 0.04)) / double(n);
  }
  const Denoiser denoise = mixture_denoiser(mixture);
  const auto gap = [&](int64_t T) {
    ProcessOptions options = with("linear");
    options.num_train_timesteps = T;
    options.beta_start = 1e-4 * 1000 / double(T), options.beta_end = 0.02 * 1000 / double(T);
    const Process process(options);
    const VariationalBound bound = bound_of(process, "fixed_small", Decoder::kContinuous);
    double sum = bound.prior(x0).mean().item<double>();
    Tensor eps = at::empty({n, 1}, at::kFloat);
    for (int64_t k = 0; k < T; ++k) {
      Rng(13, k).fill_normal(eps.data_ptr<float>(), n);
      const Level at = process.schedule().level(k);
      const Estimate e = denoise(at.alpha * x0 + at.sigma * eps.to(at::kDouble), at);
      sum += bound.term(e, x0, at::full({n}, k, at::kLong)).mean().item<double>();
    }
    return sum - truth;
  };
  const double gaps[] = {gap(50), gap(200), gap(1000)};
  std::printf("gap to the true density: T = 50 %.4f, 200 %.4f, 1000 %.4f bits/dim\n", gaps[0],
              gaps[1], gaps[2]);
  EXPECT_GT(gaps[2], 0);
  EXPECT_GT(gaps[0], 1.2 * gaps[1]);
  EXPECT_GT(gaps[1], 1.2 * gaps[2]);
}

TEST(Bound, RefusesWhatItCannotAnswer) {
  const Process process(with("linear"));
  const std::string unknown = message_of([&] { bound_of(process, "fixed_smal"); });
  EXPECT_TRUE(contains(unknown, "unknown variance_type 'fixed_smal'")) << unknown;
  const std::string missing =
      message_of([&] { bound_of(process, "learned_range").term(believing(0), pixel(0), step(5)); });
  EXPECT_TRUE(contains(missing, "twice the image's channels")) << missing;
  ProcessOptions open = with("linear");
  open.set_alpha_to_one = false;
  const std::string end = message_of([&] { bound_of(Process(open), "fixed_small"); });
  EXPECT_TRUE(contains(end, "ends at the data")) << end;
}

// KL(N(a x, s^2) || N(0, s^2)) = a^2 x^2 / (2 s^2): the sampler begins with noise of s.
TEST(Bound, AStridedFlowBeginsWhereItsSamplerDoes) {
  ProcessOptions options;
  options.path = "flow", options.prediction_type = "flow_prediction", options.clip_sample = false;
  const Process process(options);
  const std::vector<Level> levels = process.levels(10, "leading");
  const VariationalBound bound = bound_along(process, levels, Decoder::kDiscretised);
  const Level first = levels.front();
  ASSERT_GT(first.alpha, 0.05);
  const Tensor x0 = at::full({1, 1, 2, 2}, 0.7, at::kDouble);
  const double expected = std::pow(first.alpha * 0.7 / first.sigma, 2) / 2 / std::log(2.);
  EXPECT_NEAR(bound.prior(x0).item<double>(), expected, 1e-12);
}

}  // namespace tweedie

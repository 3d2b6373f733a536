#include "tweedie/metrics/bpd.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/errors.h"
#include "tweedie/metrics/moments.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

// 4x4 grey pictures: all of one level, or of levels that depend on the index.
class Flat : public Dataset {
 public:
  Flat(int64_t size, int level) : size_(size), level_(level) {}
  int64_t size() const override { return size_; }
  Example get(int64_t i) const override {
    Example out{{4, 4, 1, std::vector<uint8_t>(16)}, -1};
    for (int k = 0; k < 16; ++k)
      out.image.pixels[k] = level_ >= 0 ? level_ : (i * 37 + k * 11) % 256;
    return out;
  }
  std::pair<int, int> common_size() const override { return {4, 4}; }
  int common_channels() const override { return 1; }
  std::string describe() const override { return "flat"; }

 private:
  int64_t size_;
  int level_;
};

ProcessOptions options(int64_t T) {
  ProcessOptions o;
  o.num_train_timesteps = T;
  o.beta_start = 0.1 / double(T), o.beta_end = 20. / double(T);
  o.clip_sample = false;
  return o;
}

Tensor silent(const Tensor& x, const Tensor&, const Tensor&) { return at::zeros_like(x); }
Tensor rough(const Tensor& x, const Tensor& t, const Tensor&) {
  return 0.8 * x + 0.1 * (t / 20).sin().view({-1, 1, 1, 1});
}

Bpd bpd(const LabelledNetwork& network, int64_t T, DatasetPtr data, BpdOptions how,
        int64_t batch = 16, const CancelToken& cancel = {}) {
  const Process process(options(T));
  const VariationalBound bound(process.levels(T), "fixed_small");
  LoaderOptions loader;
  loader.batch_size = batch, loader.height = loader.width = 4;
  std::vector<int64_t> indices(T);
  for (int64_t k = 0; k < T; ++k) indices[k] = k;
  return variational_bpd(network, process, bound, indices, data, loader, at::kCPU, how, {}, cancel);
}

}  // namespace

// A network that always says "no noise": the middle is the sum of (SNR_(t-1)/SNR_t - 1)/2 and L_0
// an average over eps, both known with 40 digits.
TEST(Bpd, OfASilentNetworkIsTheKnownNumber) {
  const auto data = std::make_shared<Flat>(400, 100);
  const Bpd found = bpd(silent, 1000, data, {.t_per_image = 16});
  const double level = 100 / 127.5 - 1;
  const double expected = 10.1704928737892 / std::log(2) + 2.513611690424 + found.prior;
  EXPECT_NEAR(found.total, expected, 4 * found.image_stderr);
  EXPECT_LT(found.image_stderr, 0.1);
  EXPECT_LE(found.estimator_stderr, 1.2 * found.image_stderr);
  EXPECT_NEAR(found.prior, 5.9e-10 + 2.9e-5 * level * level, 2e-6);
  EXPECT_EQ(found.vlb.size(), 1000u);
  EXPECT_EQ(found.decoder, found.vlb[0]);
  EXPECT_EQ(found.images, 400);
  EXPECT_EQ(found.t_per_image, 16);
}

TEST(Bpd, ByDrawnStepsAgreesWithAllOfThem) {
  const auto data = std::make_shared<Flat>(100, -1);
  const Bpd exact = bpd(rough, 200, data, {.exact = true});
  const Bpd drawn = bpd(rough, 200, data, {.t_per_image = 8});
  EXPECT_TRUE(std::isnan(exact.estimator_stderr));
  EXPECT_EQ(exact.t_per_image, 200);
  double sum = exact.prior;
  for (const double term : exact.vlb) sum += term;
  EXPECT_NEAR(exact.total, sum, 1e-9 * sum);
  EXPECT_NEAR(drawn.total, exact.total, 5 * drawn.estimator_stderr);
  EXPECT_LT(drawn.estimator_stderr, 0.1 * exact.total);
}

// The same images, other t and noise: the totals spread as the estimator's error says.
TEST(Bpd, TheEstimatorsErrorIsTheSpreadOverSeeds) {
  const auto data = std::make_shared<Flat>(32, -1);
  double sum = 0, squares = 0, claimed = 0;
  const int runs = 40;
  for (int seed = 0; seed < runs; ++seed) {
    const Bpd found =
        bpd(rough, 200, data, {.t_per_image = 4, .seed = static_cast<uint64_t>(seed)});
    sum += found.total / runs, squares += found.total * found.total / runs;
    claimed += found.estimator_stderr / runs;
  }
  const double spread = std::sqrt((squares - sum * sum) * runs / (runs - 1));
  EXPECT_LT(spread, 1.4 * claimed);  // interleaved over images, so it may well be smaller
  EXPECT_GT(spread, 0.1 * claimed);
}

TEST(Bpd, DoesNotDependOnTheBatchSize) {
  const auto data = std::make_shared<Flat>(10, -1);
  const Bpd one = bpd(rough, 100, data, {.t_per_image = 4}, 32);
  const Bpd small = bpd(rough, 100, data, {.t_per_image = 4}, 3);
  EXPECT_NEAR(one.total, small.total, 1e-9 * one.total);
}

// With one variance v in q and p, whose means are d apart, ln q - ln p of one draw of q is normal
// with the mean KL = d^2/(2v) and the variance d^2/v = 2 KL: a draw's variance is that of the
// closed form, which is known for rough() too, and beside it the mean of the 2 KL. DDPM Eq. 3
TEST(Bpd, OneDrawHasTheSameMeanAndTheVarianceOfANormal) {
  const int64_t n = 2000, T = 40, D = 16;
  const auto data = std::make_shared<Flat>(n, -1);
  const Bpd found = bpd(rough, T, data, {.exact = true, .monte_carlo = true}, 250);
  ASSERT_EQ(found.variance_ratio.size(), size_t(T));
  EXPECT_TRUE(std::isnan(found.variance_ratio[0]));
  EXPECT_NEAR(found.monte_carlo_total, found.total, 0.02 * found.total);
  EXPECT_NE(found.monte_carlo_total, found.total);

  const Schedule schedule = make_schedule(options(T));
  const double error = std::sqrt(7. / n);  // of a ratio of variances whose kurtoses are below 4.5
  double all = 0;
  for (int64_t k = 1; k < T; ++k) {
    const Level at = schedule.level(k);
    // KL = w (eps - E)^2 of a scalar (VDM Sec. 4), and eps - E = A eps - B.
    const double w = (schedule.snr(k - 1) / schedule.snr(k) - 1) / 2;
    const double A = 1 - 0.8 * at.sigma, bits = w / (D * std::log(2));
    Moments means;  // over images, of what is the mean over eps
    double variance = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Example example = data->get(i);
      double squares = 0;  // sum of B^2
      for (const uint8_t level : example.image.pixels)
        squares += std::pow(0.8 * at.alpha * (level / 127.5 - 1) + 0.1 * std::sin(k / 20.), 2);
      means.add(bits * (D * A * A + squares));
      variance += bits * bits * (2 * D * std::pow(A, 4) + 4 * A * A * squares) / double(n);
    }
    variance += means.variance();
    EXPECT_NEAR(found.vlb[k], means.mean, 4.5 * std::sqrt(variance / n)) << k;
    const double of_a_draw = 2 * means.mean / (D * std::log(2));  // nats^2 to (bits/dim)^2
    const double ratio = found.variance_ratio[k] / (1 + of_a_draw / variance);
    EXPECT_NEAR(ratio, 1, 4.5 * error) << k;
    all += ratio / double(T - 1);
  }
  EXPECT_NEAR(all, 1, 4 * error / std::sqrt(double(T - 1)));
}

TEST(Bpd, ReadsTheFirstSoManyImages) {
  const auto data = std::make_shared<Flat>(50, -1);
  EXPECT_EQ(bpd(rough, 40, data, {.images = 7}).images, 7);
  EXPECT_EQ(bpd(rough, 40, data, {.images = 70}).images, 50);
}

TEST(Bpd, RefusesAndStops) {
  const auto data = std::make_shared<Flat>(5, -1);
  EXPECT_TRUE(contains(message_of([&] { bpd(rough, 40, data, {.t_per_image = 3}); }), "even"));
  const LabelledNetwork broken = [](const Tensor& x, const Tensor&, const Tensor&) {
    return x / 0;
  };
  EXPECT_TRUE(contains(message_of([&] { bpd(broken, 40, data, {}); }), "not finite"));
  CancelToken cancel;
  cancel.cancel();
  EXPECT_TRUE(
      contains(message_of([&] { bpd(rough, 40, data, {}, 16, cancel); }, Error::Kind::kInterrupted),
               "interrupted"));
}

// Of one image there is nothing that the combs of others could even out; and of several, no seed
// may claim to know what it does not.
TEST(Bpd, TheEstimatorsErrorIsRightForFewImages) {
  for (const int64_t images : {1, 8}) {
    const auto data = std::make_shared<Flat>(images, -1);
    double sum = 0, squares = 0, claimed = 0, least = 1e9;
    const int runs = 150;
    for (int seed = 0; seed < runs; ++seed) {
      const Bpd found =
          bpd(rough, 50, data, {.t_per_image = 4, .seed = static_cast<uint64_t>(seed)});
      sum += found.total / runs, squares += found.total * found.total / runs;
      claimed += found.estimator_stderr * found.estimator_stderr / runs;
      least = std::min(least, found.estimator_stderr);
    }
    const double spread = std::sqrt((squares - sum * sum) * runs / (runs - 1));
    EXPECT_LT(spread, 1.4 * std::sqrt(claimed)) << images;
    EXPECT_GT(spread, (images == 1 ? 0.7 : 0) * std::sqrt(claimed)) << images;
    EXPECT_GT(least, (images == 8 ? 0.25 : 0) * spread) << images;
  }
}

}  // namespace tweedie

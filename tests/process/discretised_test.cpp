#include "tweedie/process/discretised.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace tweedie {
namespace {

Tensor scalar(double x) { return at::full({1}, x, at::kDouble); }

double log_likelihood(int level, double mean, double std, Cdf cdf = Cdf::kExact) {
  return discretised_log_likelihood(scalar(level / 127.5 - 1), scalar(mean), scalar(std::log(std)),
                                    cdf)
      .item<double>();
}

}  // namespace

// Computed with 40 digits.
TEST(Discretised, AgreesWithFortyDigits) {
  struct Row {
    int level;
    double mean, std, log_p;
  };
  for (const Row& r :
       {Row{128, 0, .01, -1.26028930388871}, Row{200, .5, .1, -3.70009175347159},
        Row{128, 1 / 255., .01, -1.18725438923535}, Row{100, .5, .05, -105.011993783838},
        Row{0, -1, .01, -0.426899937726329}, Row{255, 1, .01, -0.426899937726329},
        Row{10, .9, .05, -665.284423318349}, Row{0, -.9, .05, -3.59976919359924},
        Row{255, .95, .02, -4.54562630258184}}) {
    SCOPED_TRACE(r.level);
    EXPECT_NEAR(log_likelihood(r.level, r.mean, r.std), r.log_p, 1e-11 * std::abs(r.log_p));
  }
}

TEST(Discretised, AllLevelsTogetherHaveProbabilityOne) {
  for (const double mean : {-1.3, -0.5, 0.001, 0.99})
    for (const double std : {0.002, 0.1, 3.}) {
      double sum = 0;
      for (int level = 0; level < 256; ++level) sum += std::exp(log_likelihood(level, mean, std));
      EXPECT_NEAR(sum, 1, 1e-12) << mean << " " << std;
    }
}

TEST(Discretised, GradientsAreThoseOfTheDifferenceQuotient) {
  for (const int level : {0, 77, 255}) {
    const Tensor x0 = scalar(level / 127.5 - 1);
    const Tensor mean = scalar(0.2).requires_grad_(), log_std = scalar(-2.3).requires_grad_();
    discretised_log_likelihood(x0, mean, log_std).sum().backward();
    const double h = 1e-5;
    const auto f = [&](double m, double l) {
      return discretised_log_likelihood(x0, scalar(m), scalar(l)).item<double>();
    };
    const double by_mean = (f(0.2 + h, -2.3) - f(0.2 - h, -2.3)) / (2 * h);
    const double by_std = (f(0.2, -2.3 + h) - f(0.2, -2.3 - h)) / (2 * h);
    EXPECT_NEAR(mean.grad().item<double>(), by_mean, 1e-6 * std::abs(by_mean)) << level;
    EXPECT_NEAR(log_std.grad().item<double>(), by_std, 1e-6 * std::abs(by_std)) << level;
  }
}

TEST(Discretised, StaysFiniteWithGradientsFarOutsideAndForNarrowBins) {
  for (const double std : {1e-4, 1e-2, 50.})
    for (const double mean : {-30., 0., 30.})
      for (const int level : {0, 1, 128, 254, 255}) {
        const Tensor m = scalar(mean).requires_grad_();
        const Tensor log_std = scalar(std::log(std)).requires_grad_();
        const Tensor log_p =
            discretised_log_likelihood(scalar(level / 127.5 - 1), m, log_std).sum();
        log_p.backward();
        EXPECT_TRUE(log_p.isfinite().item<bool>()) << std << " " << mean << " " << level;
        EXPECT_TRUE(m.grad().isfinite().item<bool>()) << std << " " << mean << " " << level;
        EXPECT_TRUE(log_std.grad().isfinite().item<bool>()) << std << " " << mean << " " << level;
      }
}

// What OpenAI's released code gives for these five.
TEST(Discretised, ByTanhAgreesWithTheReleasedCode) {
  const Tensor x = at::tensor({-1., -.5, 0., .999, 1.}, at::kDouble);
  const Tensor found = discretised_log_likelihood(x, 0.9 * x, scalar(-2.5), Cdf::kTanh);
  const double expected[] = {-2.1113, -3.4535, -3.2674, -4.0076, -2.1113};
  for (int i = 0; i < 5; ++i) EXPECT_NEAR(found[i].item<double>(), expected[i], 5e-5) << i;
}

TEST(Discretised, ByTanhIsThatFormulaInPlainDoubles) {
  const auto cdf = [](double u) {
    return 0.5 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (u + 0.044715 * u * u * u)));
  };
  for (const int level : {0, 3, 100, 200, 255}) {
    const double x = level / 127.5 - 1, mean = 0.1, std = 0.25;
    const double upper = cdf((x - mean + 1 / 255.) / std), lower = cdf((x - mean - 1 / 255.) / std);
    const double p = level == 0 ? upper : level == 255 ? 1 - lower : upper - lower;
    EXPECT_NEAR(log_likelihood(level, mean, std, Cdf::kTanh), std::log(std::max(p, 1e-12)), 1e-6);
  }
  EXPECT_NEAR(log_likelihood(10, 0.9, 0.05, Cdf::kTanh), std::log(1e-12), 1e-12);  // its floor
}

}  // namespace tweedie

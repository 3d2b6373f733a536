// The integrals are exact for what they are exact for: an x_0 that is a polynomial of lambda, on
// nodes at unequal distances and with an exact history.
#include "tweedie/samplers/multistep.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/samplers/oracle.h"
#include "tests/samplers/ramp.h"
#include "tests/support/errors.h"

namespace tweedie {
namespace {

// x_0 = lambda^n, whatever x is.
Denoiser power(int n) {
  return [n](const Tensor& x, const Level& at) {
    const Tensor x0 = at::full_like(x, std::pow(lambda(at), n));
    return Estimate{x0, (x - at.alpha * x0) / at.sigma, {}};
  };
}

// int_a^b e^{l-b} l^n dl, by parts.
double integral(int n, double a, double b) {
  const double edge = std::pow(b, n) - std::exp(a - b) * std::pow(a, n);
  return n == 0 ? edge : edge - n * integral(n - 1, a, b);
}

// DPM++ Prop. 4.1 for x_0 = lambda^n.
double exact_step(double x, const Level& at, const Level& next, int n) {
  return next.sigma / at.sigma * x + next.alpha * integral(n, lambda(at), lambda(next));
}

Level at_lambda(double l) { return vp_path(Schedule(make_betas({}))).at_ratio(std::exp(-l)); }

const std::vector<double> kBefore = {-0.9, -1.3};  // lambda of the history, newest first
const std::vector<double> kWay = {-0.2, 0.35, 0.6, 1.4};

SamplerOptions with_history(SamplerOptions options, int n) {
  options.lower_order_final = false;
  for (const double l : kBefore)
    options.history.push_back({at_lambda(l), scalar(std::pow(l, n)), {}});
  return options;
}

// How far the way's end is from the exact one's.
double error(const char* sampler, int n, const SamplerOptions& options) {
  Grid grid;
  for (const double l : kWay) grid.levels.push_back(at_lambda(l));
  double exact = 0.7;
  for (int64_t i = 0; i < grid.steps(); ++i)
    exact = exact_step(exact, grid.levels[i], grid.levels[i + 1], n);
  const Tensor x = solve(sampler, power(n), scalar(0.7), grid, with_history(options, n));
  return std::abs(x.item<double>() - exact);
}

// Two steps whose first is corrected, less two whose first one's end is put right by hand: what is
// left of the corrector's error. (The estimates do not depend on x, so the second step is the
// same.)
double corrector_error(int64_t order, int n) {
  const std::vector<double> l = kWay;
  const Level a = at_lambda(l[0]), b = at_lambda(l[1]), c = at_lambda(l[2]);
  const Tensor corrected =
      solve("unipc", power(n), scalar(0.7), {a, b, c}, with_history({.order = order}, n));
  SamplerOptions exact{.order = order, .lower_order_final = false};
  exact.history = {{a, scalar(std::pow(l[0], n)), {}},
                   {at_lambda(kBefore[0]), scalar(std::pow(kBefore[0], n)), {}}};
  const Tensor right = solve("unipc", power(n), scalar(exact_step(0.7, a, b, n)), {b, c}, exact);
  return std::abs((corrected - right).item<double>());
}

constexpr double kNone = 1e-13, kSome = 1e-4;

}  // namespace

TEST(Multistep, TwoMExactIntegratesLines) {
  for (const int n : {0, 1}) EXPECT_LT(error("dpmpp_2m", n, {.solver_type = "heun"}), kNone) << n;
  EXPECT_GT(error("dpmpp_2m", 1, {}), kSome) << "the midpoint form is of second order, not exact";
  EXPECT_GT(error("dpmpp_2m", 2, {.solver_type = "heun"}), kSome);
}

TEST(Multistep, ThreeMIntegratesParabolasOnlyWithTheTwo) {
  for (const int n : {0, 1, 2}) EXPECT_LT(error("dpmpp_3m", n, {}), kNone) << n;
  EXPECT_GT(error("dpmpp_3m", 3, {}), kSome);
  EXPECT_GT(error("dpmpp_3m", 2, {.rules = "diffusers"}), kSome);
}

TEST(Multistep, UniPcsPredictorIsExactToItsOrderLessOne) {
  for (const char* type : {"bh1", "bh2"}) {
    const SamplerOptions three{.order = 3, .solver_type = type, .corrector = false};
    for (const int n : {0, 1, 2}) EXPECT_LT(error("unipc", n, three), kNone) << n;
    EXPECT_GT(error("unipc", 3, three), kSome);
  }
  const SamplerOptions two{.order = 2, .corrector = false};
  EXPECT_NEAR(error("unipc", 1, two), error("dpmpp_2m", 1, {}), 1e-15) << "2M, by 1/2 for rho";
  const SamplerOptions three{.order = 3, .corrector = false};
  EXPECT_NEAR(error("unipc", 3, three), error("dpmpp_3m", 3, {}), 1e-14) << "3M";
}

TEST(Multistep, UniPcsCorrectorIsExactToItsOrder) {
  for (const int n : {0, 1, 2}) EXPECT_LT(corrector_error(2, n), kNone) << n;
  EXPECT_GT(corrector_error(2, 3), 1e-5);
  for (const int n : {0, 1, 2, 3}) EXPECT_LT(corrector_error(3, n), kNone) << n;
  EXPECT_GT(corrector_error(3, 4), 1e-6);
}

TEST(Multistep, PsiIsItsSeriesForEveryStep) {
  for (const int j : {1, 2, 3}) {
    for (const double g : {-1e-9, -1e-3, -0.4999, -0.5001, -2., -9., 0.3, 1.7}) {
      double term = 1, sum = 0;
      for (int k = 2; k <= j; ++k) term /= k;
      for (int m = 1; m <= 80; ++m) sum += term *= g / (m + j);
      EXPECT_NEAR(psi(j, g), sum, 1e-13 * std::abs(sum) + 1e-16) << j << " " << g;
    }
    EXPECT_NEAR(psi(j, -std::numeric_limits<double>::infinity()), -1 / std::tgamma(j + 1), 1e-15);
  }
}

TEST(Multistep, AFewStepsFallToOrderOneAtTheDataAndManyDoNot) {
  const auto orders = [](std::vector<Level> levels, int64_t most) {
    const Grid grid(std::move(levels));
    History history({}, most);
    std::vector<int64_t> list;
    for (int64_t i = 0; i < grid.steps(); ++i) {
      history.add({grid.levels[i], {}, {}});
      list.push_back(order_of_step(history, grid, i, {}));
    }
    return list;
  };
  const Process process{ProcessOptions{}};
  EXPECT_EQ(orders(process.levels(6), 3), (std::vector<int64_t>{1, 2, 3, 3, 2, 1}));
  const std::vector<int64_t> many = orders(process.levels(15), 3);
  EXPECT_EQ(std::vector<int64_t>(many.end() - 3, many.end()), (std::vector<int64_t>{3, 3, 1}));
  std::vector<Level> above = process.levels(6);
  above.pop_back();
  EXPECT_EQ(orders(above, 3), (std::vector<int64_t>{1, 2, 3, 2, 1}));
}

TEST(Multistep, LevelsMustFall) {
  const Level a = at_lambda(0), b = at_lambda(0.5);
  for (const char* name : {"dpmpp_2m", "dpmpp_3m", "unipc"})
    EXPECT_TRUE(testing::contains(testing::message_of([&] {
                                    solve(name, power(0), scalar(1), {a, b, a});
                                  }),
                                  "must fall"))
        << name;
}

TEST(Multistep, PureNoiseIsForgottenWhereDistanceCounts) {
  ProcessOptions options;
  options.rescale_betas_zero_snr = true;
  options.prediction_type = "v_prediction";
  const Process process(options);
  const Denoiser denoise = plane_mixture();
  const Grid grid = make_grid(process, {.steps = 60, .spacing = "trailing"});
  ASSERT_EQ(grid.levels.front().alpha, 0);
  const Tensor truth = exact_way(denoise, plane_points(), process.schedule().level(998),
                                 process.schedule().level(0), grid.path, 4000);
  for (const SamplerInfo& sampler : samplers()) {
    if (cost_of(sampler, grid, {}).draws > 0) continue;
    const Tensor x = solve(sampler.name, denoise, plane_points(), grid);
    EXPECT_LT((x - truth).abs().max().item<double>(), 0.1) << sampler.name;
  }
}

}  // namespace tweedie

#include "tweedie/process/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/errors.h"
#include "tweedie/process/posterior.h"

namespace tweedie {
namespace {

using testing::message_of;

// Reference values below were computed in 40 digits and rounded to 15.
void expect_near_relative(double value, double expected, double tolerance = 1e-11) {
  EXPECT_LE(std::abs(value - expected), tolerance * std::abs(expected))
      << value << " instead of " << expected;
}

Schedule make(const std::string& name, int64_t T = 1000, double start = 1e-4, double end = 0.02) {
  ProcessOptions options;
  options.beta_schedule = name;
  options.num_train_timesteps = T;
  options.beta_start = start;
  options.beta_end = end;
  return Schedule(make_betas(options));
}

struct Row {
  int64_t k;
  double alpha_cumprod, variance, log_snr, c0, c1;
};
void expect_row(const Schedule& schedule, const Row& row) {
  SCOPED_TRACE(row.k);
  const Level at = schedule.level(row.k), next = schedule.level(row.k - 1);
  const Posterior q = posterior(at, next);
  expect_near_relative(schedule.alpha_cumprod(row.k), row.alpha_cumprod);
  expect_near_relative(q.variance, row.variance);
  expect_near_relative(2 * std::log(at.alpha / at.sigma), row.log_snr);
  expect_near_relative(q.c0, row.c0);
  expect_near_relative(q.c1, row.c1);
}

}  // namespace

// DDPM Eq. 7 and Sec. 4
TEST(Schedule, LinearTableAgreesWithFortyDigits) {
  const Schedule s = make("linear");
  expect_near_relative(s.beta(1), 1.1991991991992e-4);
  expect_near_relative(s.beta(499), 0.01004004004004);
  expect_row(s, {0, 0.9999, 0, 9.21024036697585, 1, 0});
  expect_row(s, {1, 0.999780092072072, 5.45318766130261e-5, 8.42208167651871, 0.545291499510271,
                 0.454708498990565});
  expect_row(s, {499, 0.0785872428817782, 0.0100313554146137, -2.46169871581047,
                 0.00307007111426498, 0.994106670210167});
  expect_row(s, {999, 4.03582976537568e-5, 0.0199999835265606, -10.117673183301,
                 0.000128351487172247, 0.989948678267517});
}

// IDDPM Eq. 17
TEST(Schedule, CosineTableAgreesWithFortyDigits) {
  const Schedule s = make("squaredcos_cap_v2");
  expect_near_relative(s.beta(0), 4.12842248217778e-5);
  expect_near_relative(s.beta(1), 4.61417527366945e-5);
  expect_near_relative(s.beta(499), 0.0031458862304782);
  EXPECT_EQ(s.beta(999), 0.999);
  EXPECT_LT(s.beta(998), 0.999);
  expect_row(s, {0, 0.999958715775178, 0, 10.0949888114621, 1, 0});
  expect_row(s, {1, 0.999912575927368, 2.1789496145662e-5, 9.34465245476064, 0.527781409336212,
                 0.472218590425662});
  expect_row(s, {499, 0.493843590440638, 0.00313619990405794, -0.0246268828115145,
                 0.00437458822614571, 0.995351619472171});
  expect_row(s, {999, 2.42876690703447e-9, 0.998997576088192, -19.8358821516241,
                 0.00155689171549005, 0.0316226998741346});
}

TEST(Schedule, EndsWhereTheOtherSchedulesAreKnownToEnd) {
  const auto end = [](const Schedule& s) { return s.alpha_cumprod(s.size() - 1); };
  expect_near_relative(end(make("linear", 4000, 1e-4 / 4, 0.02 / 4)), 4.24665227580223e-5);
  expect_near_relative(end(make("linear", 100, 1e-3, 0.2)), 2.03900897556408e-5);
  expect_near_relative(end(make("squaredcos_cap_v2", 4000)), 1.51798046884956e-10);
  expect_near_relative(end(make("scaled_linear", 1000, .00085, .012)), 0.00466009851307724);
  expect_near_relative(end(make("scaled_linear", 1000, .0015, .0195)), 1.42303975192018e-4);
  expect_near_relative(end(make("sigmoid")), 3.96818199053321e-5);
  EXPECT_NEAR(end(make("laplace")), 3.16228e-2, 1e-6);  // as diffusers 0.42.1 has it in float32
}

TEST(Schedule, IsExactAtTheData) {
  const Level data = make("linear").level(-1);
  EXPECT_EQ(data.alpha, 1);
  EXPECT_EQ(data.sigma, 0);
  EXPECT_EQ(data.t, -1);
}

TEST(Schedule, TakesTrainedBetasAsTheyAre) {
  ProcessOptions options;
  options.num_train_timesteps = 3;
  options.trained_betas = {{0.1, 0.2, 0.5}};
  const Schedule s(make_betas(options));
  EXPECT_NEAR(s.alpha_cumprod(2), 0.9 * 0.8 * 0.5, 1e-15);
  EXPECT_NEAR(s.one_minus_alpha_cumprod(2), 1 - 0.9 * 0.8 * 0.5, 1e-15);
  options.num_train_timesteps = 4;
  EXPECT_EQ(message_of([&] { make_betas(options); }),
            "[process] trained_betas has 3 values and num_train_timesteps is 4");
}

// LIN Alg. 1
TEST(Schedule, ZeroTerminalSnrAgreesWithFortyDigits) {
  ProcessOptions options;
  options.rescale_betas_zero_snr = true;
  const Schedule s(make_betas(options));
  expect_near_relative(s.alpha_cumprod(0), 0.9999);
  expect_near_relative(s.alpha_cumprod(1), 0.999779325433153);
  expect_near_relative(s.alpha_cumprod(499), 0.0760287505471147);
  expect_near_relative(s.alpha_cumprod(998), 4.21326246508807e-9);
  EXPECT_EQ(s.alpha_cumprod(999), 0);
  EXPECT_EQ(s.level(999).sigma, 1);
}

TEST(Schedule, RefusesBetasThatAreNoSchedule) {
  EXPECT_EQ(message_of([] {
              Schedule({0.1, 0.0});
            }),
            "[process] beta of step 1 is 0: it must lie between 0 and 1");
  EXPECT_EQ(message_of([] {
              Schedule({0.1, 1.0, 0.2});
            }),
            "[process] beta of step 1 is 1: it must lie between 0 and 1");
  EXPECT_THROW(Schedule({std::nan("")}), Error);
  EXPECT_THROW(Schedule({-0.1}), Error);
  EXPECT_THROW(Schedule(std::vector<double>{}), Error);
  EXPECT_NO_THROW(Schedule({0.1, 1.0}));
}

TEST(Schedule, IsFoundByNameOrRefusedWithTheNames) {
  ProcessOptions options;
  for (const std::string& name : schedule_names()) {
    options.beta_schedule = name;
    EXPECT_EQ(make_betas(options).size(), 1000u) << name;
  }
  options.beta_schedule = "liner";
  EXPECT_EQ(message_of([&] { make_betas(options); }),
            "unknown beta_schedule 'liner'; did you mean linear? known: linear, scaled_linear, "
            "squaredcos_cap_v2, sigmoid, sigmoid_abar, laplace, learned");
}

// IDDPM Eq. 17
TEST(Schedule, TheCosinesOffsetAndItsLargestBetaAreOptions) {
  ProcessOptions options;
  options.beta_schedule = "squaredcos_cap_v2";
  options.num_train_timesteps = 50;
  options.cosine_s = 0.03, options.max_beta = 0.4;
  const std::vector<double> betas = make_betas(options);
  const auto f = [](double t) {
    return std::pow(std::cos((t / 50 + 0.03) / 1.03 * 1.5707963267948966), 2);
  };
  for (int t = 1; t <= 50; ++t)
    EXPECT_NEAR(betas[t - 1], std::min(1 - f(t) / f(t - 1), 0.4), 1e-12) << t;
  EXPECT_EQ(betas.back(), 0.4);
}

TEST(Schedule, SigmoidAbarEndsWhereFortyDigitsHaveIt) {
  const Schedule s = make("sigmoid_abar");
  expect_near_relative(s.alpha_cumprod(999), 3.00279199749186e-7);
  expect_near_relative(s.alpha_cumprod(499), 0.5);
}

// SDE App. C
TEST(Schedule, VesSigmasAreGeometric) {
  ProcessOptions options;
  options.path = "edm", options.sigma_schedule = "exponential";
  options.sigma_min = 0.01, options.sigma_max = 50, options.num_train_timesteps = 100;
  const Schedule s = make_schedule(options);
  for (int k = 0; k < 100; ++k) {
    EXPECT_EQ(s.level(k).alpha, 1);
    expect_near_relative(s.level(k).sigma, 0.01 * std::pow(5000, k / 99.));
  }
}

TEST(Schedule, FlowEndsInNoiseAloneWhateverTheShift) {
  ProcessOptions options;
  options.path = "flow";
  for (const double shift : {0.05, 0.1, 0.2, 0.3, 1., 3., 7.3}) {
    options.shift = shift;
    const Schedule s = make_schedule(options);
    EXPECT_EQ(s.level(999).alpha, 0) << shift;
    EXPECT_EQ(s.level(999).sigma, 1) << shift;
    EXPECT_EQ(s.level(999).t, 1000) << shift;
    for (int k = 0; k < 999; ++k) ASSERT_GT(s.level(k).alpha, 0) << shift;
  }
}

TEST(Schedule, RefusesLevelsOfNegativeSignal) {
  EXPECT_NE(message_of([] { Schedule::from_levels({{0.5, 0.5, 0}, {-1e-16, 1, 1}}); }), "");
  EXPECT_NE(message_of([] {
              Schedule::from_levels({{1, 1, 0}}).beta(0);
            }).find("no betas"),
            std::string::npos);
}

}  // namespace tweedie

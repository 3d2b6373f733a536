#include "tweedie/process/grid.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/errors.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

const Process& linear() {
  static const Process process{ProcessOptions{}};
  return process;
}

std::vector<double> times(const Grid& grid) {
  std::vector<double> list;
  for (int64_t i = 0; i < grid.steps(); ++i) list.push_back(grid.levels[i].t);
  return list;
}

std::vector<double> ratios(const Grid& grid) {
  std::vector<double> list;
  for (int64_t i = 0; i < grid.steps(); ++i) list.push_back(noise_ratio(grid.levels[i]));
  return list;
}

using List = std::vector<double>;

Grid theirs(const char* scheduler, const char* spacing, int64_t offset = 0, int64_t steps = 7) {
  return make_grid(linear(),
                   {.steps = steps, .spacing = spacing, .offset = offset, .scheduler = scheduler});
}

}  // namespace

TEST(Grid, AListOfTimestepsIsExactlyTheTables) {
  const Grid grid = make_grid(linear(), {.steps = 4, .spacing = "trailing"});
  EXPECT_EQ(times(grid), (List{999, 749, 499, 249}));
  EXPECT_EQ(grid.levels[2].alpha, linear().schedule().level(499).alpha);
  EXPECT_EQ(grid.levels.back().sigma, 0);
  EXPECT_TRUE(grid.path);
  EXPECT_EQ(times(make_grid(linear(), {.timesteps = {999, 500, 0}})), (List{999, 500, 0}));
  EXPECT_EQ(times(make_grid(linear(), {.spacing = "1,2"})), (List{999, 500, 0}));
}

TEST(Grid, BeginsAtTheNoiseOfItsPath) {
  ProcessOptions options;
  EXPECT_EQ(make_grid(Process(options), {.steps = 5}).init, 1);
  options.path = "edm", options.prediction_type = "edm";
  const Grid edm = make_grid(Process(options), {.steps = 5, .spacing = "karras"});
  EXPECT_DOUBLE_EQ(edm.init, 80);
  EXPECT_EQ(edm.levels[2].alpha, 1);
  EXPECT_NEAR(edm.levels[2].t, std::log(noise_ratio(edm.levels[2])) / 4, 1e-12);  // EDM Table 1
  options.path = "flow", options.prediction_type = "flow_prediction";
  const Grid flow = make_grid(Process(options), {.steps = 4, .spacing = "trailing"});
  EXPECT_EQ(times(flow), (List{1000, 750, 500, 250}));
  EXPECT_EQ(flow.init, 1);
  EXPECT_EQ(flow.levels.front().alpha, 0);
}

TEST(Grid, KarrasIsThePapersFormula) {
  // EDM Eq. 5 from 80 to 0.002, N = 10: the reference's values of i = 1 and 5.
  const List r = noise_ratios("karras", 10, 80, 0.002, 7);
  EXPECT_NEAR(r[1], 42.4151893185127, 1e-11);
  EXPECT_NEAR(r[5], 1.50174197906801, 1e-12);
  EXPECT_EQ(r.front(), 80);
  EXPECT_EQ(r.back(), 0.002);
  EXPECT_EQ(noise_ratios("karras", 1, 80, 0.002, 7), (List{80}));
}

TEST(Grid, KarrasAndExponentialSpanTheTableAndTellFractionalTimes) {
  for (const char* spacing : {"karras", "exponential", "log_snr"}) {
    const Grid grid = make_grid(linear(), {.steps = 12, .spacing = spacing});
    const List r = ratios(grid), t = times(grid);
    EXPECT_NEAR(r.front(), 157.407280810407, 1e-10) << spacing;
    EXPECT_NEAR(r.back(), noise_ratio(linear().schedule().level(0)), 1e-15) << spacing;
    EXPECT_NEAR(t.front(), 999, 1e-9);
    EXPECT_NEAR(t.back(), 0, 1e-9);
    for (size_t i = 1; i < r.size(); ++i) EXPECT_LT(r[i], r[i - 1]);
    EXPECT_NE(t[5], std::round(t[5]));
    EXPECT_EQ(grid.levels.back().sigma, 0);
  }
  const List geometric = ratios(make_grid(linear(), {.steps = 12, .spacing = "log_snr"}));
  for (size_t i = 2; i < geometric.size(); ++i)
    EXPECT_NEAR(geometric[i] / geometric[i - 1], geometric[1] / geometric[0], 1e-12);
}

TEST(Grid, KeepsWithinBoundsAllButTheFirstLevel) {
  for (const char* spacing : {"karras", "exponential", "log_snr"}) {
    const Grid grid =
        make_grid(linear(), {.steps = 8, .spacing = spacing, .sigma_max = 12, .sigma_min = 0.03});
    const List r = ratios(grid);
    ASSERT_EQ(grid.steps(), 8);
    EXPECT_NEAR(r.front(), 157.407280810407, 1e-10) << "where the noise is";
    EXPECT_NEAR(r[1], 12, 1e-12);
    EXPECT_NEAR(r.back(), 0.03, 1e-14);
    EXPECT_EQ(grid.levels.back().sigma, 0);
    EXPECT_EQ(make_grid(linear(), {.steps = 1, .spacing = spacing, .sigma_max = 12}).steps(), 1);
  }
  const List r = ratios(
      make_grid(linear(), {.steps = 8, .spacing = "log_snr", .sigma_max = 12, .sigma_min = 0.03}));
  for (size_t i = 2; i < r.size(); ++i)
    EXPECT_NEAR(std::log(r[i - 1] / r[i]), std::log(12 / 0.03) / 6, 1e-12);
  const List above =
      ratios(make_grid(linear(), {.steps = 8, .spacing = "log_snr", .sigma_min = 0.03}));
  EXPECT_NEAR(std::log(above[0] / above[1]), std::log(above[0] / 0.03) / 7, 1e-12);
}

TEST(Grid, EndsWhereTheProcessEnds) {
  ProcessOptions options;
  options.set_alpha_to_one = false;
  for (const char* spacing : {"leading", "karras"}) {
    const Grid grid = make_grid(Process(options), {.steps = 5, .spacing = spacing});
    EXPECT_EQ(grid.levels.back().alpha, Process(options).schedule().level(0).alpha);
  }
}

// To the last digit: a step between two roundings of one level has a variance below 0.
TEST(Grid, ALevelThatIsTheEndTooIsTheSame) {
  for (const double beta_start : {1e-4, 5e-4, 1e-3})
    for (const char* spacing : {"karras", "exponential", "log_snr"})
      for (const char* scheduler : {"", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"}) {
        ProcessOptions options;
        options.set_alpha_to_one = false, options.beta_start = beta_start;
        if (std::string(spacing) == "log_snr" && *scheduler) continue;  // not its own
        const Grid grid =
            make_grid(Process(options), {.steps = 6, .spacing = spacing, .scheduler = scheduler});
        EXPECT_EQ(grid.levels[5].alpha, grid.levels[6].alpha) << spacing << " " << scheduler;
        EXPECT_EQ(grid.levels[5].sigma, grid.levels[6].sigma) << spacing << " " << scheduler;
      }
}

TEST(Grid, RefusesLevelsThatDoNotFall) {
  const double close = std::nextafter(5., 0.);
  for (const double rho : {1e17, 1e-9, HUGE_VAL})
    EXPECT_TRUE(contains(
        message_of([&] { make_grid(linear(), {.steps = 9, .spacing = "karras", .rho = rho}); }),
        "karras of rho"))
        << rho;
  EXPECT_TRUE(contains(
      message_of([&] {
        make_grid(linear(), {.steps = 9, .spacing = "log_snr", .sigma_max = 5, .sigma_min = close});
      }),
      "do not fall"));
}

TEST(Grid, LeavesPureNoiseToListsOfTimesteps) {
  ProcessOptions options;
  options.rescale_betas_zero_snr = true;
  options.prediction_type = "v_prediction";
  const Process process(options);
  EXPECT_EQ(make_grid(process, {.steps = 5, .spacing = "trailing"}).levels[0].alpha, 0);
  EXPECT_EQ(make_grid(process, {.steps = 5, .spacing = "karras"}).levels[0].t, 998);
}

TEST(Grid, AStrideLandsWhereTheListDoesNot) {
  Grid grid = make_grid(linear(), {.steps = 4, .spacing = "linspace"});
  EXPECT_EQ(times(grid), (List{999, 666, 333, 0}));
  EXPECT_EQ(grid.landing(1).t, 333);
  grid.stride = 250;
  EXPECT_EQ(grid.landing(1).t, 416);
  EXPECT_EQ(grid.landing(3).sigma, 0) << "below 0 lies the end";
}

TEST(Grid, RefusesWhatCannotBe) {
  const auto fault = [](const GridOptions& options) {
    return message_of([&] { make_grid(linear(), options); });
  };
  EXPECT_TRUE(contains(fault({.spacing = "karas"}), "did you mean karras?"));
  EXPECT_TRUE(contains(fault({.steps = 1001}), "1001 is outside 1..1000"));
  EXPECT_TRUE(contains(fault({.steps = 1001, .spacing = "karras"}), "1001 is outside 1..1000"));
  EXPECT_TRUE(contains(fault({.spacing = "karras", .rho = 0}), "rho"));
  EXPECT_TRUE(contains(fault({.spacing = "karras", .sigma_max = 200}), "sigma_max 200"));
  EXPECT_TRUE(contains(fault({.spacing = "karras", .sigma_min = 1e-9}), "sigma_min 1e-09"));
  EXPECT_TRUE(contains(fault({.spacing = "karras", .sigma_max = 1, .sigma_min = 1}),
                       "sigma_min < sigma_max"));
  EXPECT_TRUE(contains(fault({.timesteps = {500, 500}}), "500 follows 500"));
  EXPECT_TRUE(contains(fault({.timesteps = {1, 2}}), "must fall"));
  EXPECT_TRUE(contains(fault({.timesteps = {1000}}), "outside 0..999"));
  EXPECT_TRUE(contains(fault({.spacing = "2000"}), "2000 steps"));
  EXPECT_TRUE(contains(fault({.spacing = "quadratic", .scheduler = "DDIMScheduler"}),
                       "not one of DDIMScheduler's"));
}

// The lists that diffusers 0.42.1 gives for 7 of 1000 steps.
TEST(DiffusersGrid, HasTheListsOfEachClass) {
  EXPECT_EQ(times(theirs("DDPMScheduler", "leading", 1)), (List{853, 711, 569, 427, 285, 143, 1}));
  for (const char* solver :
       {"DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler"}) {
    EXPECT_EQ(times(theirs(solver, "linspace")), (List{999, 856, 714, 571, 428, 285, 143}));
    EXPECT_EQ(times(theirs(solver, "leading", 1)), (List{876, 751, 626, 501, 376, 251, 126}));
    EXPECT_EQ(times(theirs(solver, "trailing")), (List{999, 856, 713, 570, 428, 285, 142}));
  }
  for (const char* solver : {"EulerDiscreteScheduler", "HeunDiscreteScheduler"})
    EXPECT_EQ(times(theirs(solver, "linspace")), (List{999, 832.5, 666, 499.5, 333, 166.5, 0}));
}

TEST(DiffusersGrid, InterpolatesTheRatioItself) {
  const Grid grid = theirs("EulerDiscreteScheduler", "linspace");
  const Schedule& schedule = linear().schedule();
  EXPECT_NEAR(noise_ratio(grid.levels[1]),
              (noise_ratio(schedule.level(832)) + noise_ratio(schedule.level(833))) / 2, 1e-12);
  EXPECT_EQ(grid.init, grid.levels[0].sigma);
  EXPECT_EQ(theirs("EulerDiscreteScheduler", "leading").init, 1);
}

TEST(DiffusersGrid, KarrasBeginsWhereTheListDoesOrAtTheEndOfTheTable) {
  GridOptions options{.steps = 6, .spacing = "karras", .scheduler = "HeunDiscreteScheduler"};
  options.list = "leading";
  EXPECT_NEAR(ratios(make_grid(linear(), options)).front(), 32.96, 5e-3);
  options.scheduler = "UniPCMultistepScheduler";
  const Grid whole = make_grid(linear(), options);
  EXPECT_NEAR(ratios(whole).front(), 157.407280810407, 1e-9);
  for (const double t : times(whole)) EXPECT_EQ(t, std::round(t));
}

TEST(DiffusersGrid, DeisStaysAboveTheData) {
  const Grid plain = theirs("DEISMultistepScheduler", "linspace");
  EXPECT_EQ(plain.levels.back().sigma, linear().schedule().level(0).sigma);
  const Grid karras = theirs("DEISMultistepScheduler", "karras");
  EXPECT_EQ(karras.levels[7].sigma, karras.levels[6].sigma) << "the last step stands still";
}

TEST(DiffusersGrid, IpndmHasATableOfItsOwn) {
  const Grid grid = theirs("IPNDMScheduler", "leading");
  EXPECT_EQ(grid.levels[0].sigma, 1);
  EXPECT_EQ(grid.levels[0].t, 1);
  EXPECT_EQ(grid.levels.back().sigma, 0);
  EXPECT_LE(grid.levels[1].t, 1) << "t runs from 1 to 0, whatever the folder's T";
}

}  // namespace tweedie

// Ten trailing steps of a Gaussian's exact denoiser, against values computed in forty digits and a
// second implementation.
#include <gtest/gtest.h>

#include "tests/samplers/oracle.h"
#include "tests/samplers/ramp.h"

namespace tweedie {
namespace {

struct Case {
  const char* name;
  const char* sampler;
  SamplerOptions options;
  double expected;
};

const Process& process() {
  static const Process linear{ProcessOptions{}};
  return linear;
}

double run(const Case& one, const Grid& grid) {
  const Denoiser denoise =
      mixture_denoiser({{1}, at::full({1, 1, 1, 1}, 0.3, at::kDouble), {0.25}});
  return solve(one.sampler, denoise, scalar(1.2), grid, one.options).item<double>();
}

}  // namespace

TEST(Reference, TenStepsToTheData) {
  const Grid grid = make_grid(process(), {.steps = 10, .spacing = "trailing"});
  const Case cases[] = {{"DDIM", "ddim", {}, 0.74324069429073},
                        {"Euler", "euler", {}, 0.74324069429073},
                        {"Heun", "heun", {}, 0.821486068829866},
                        {"EDM without churn", "edm", {}, 0.821486068829866},
                        {"2M", "dpmpp_2m", {}, 0.784945698710784},
                        {"2M exact", "dpmpp_2m", {.solver_type = "heun"}, 0.789867890392311},
                        {"3M", "dpmpp_3m", {.lower_order_final = false}, 0.803322799970214},
                        {"3M after exact 2M",
                         "dpmpp_3m",
                         {.solver_type = "heun", .lower_order_final = false},
                         0.80332464088531},
                        {"3M without the 2",
                         "dpmpp_3m",
                         {.lower_order_final = false, .rules = "diffusers"},
                         0.800101607701544},
                        {"UniPC-2", "unipc", {.order = 2}, 0.790635453793482},
                        {"UniPC-3", "unipc", {.order = 3}, 0.792238245421648},
                        {"DEIS-2 rho", "deis", {.order = 2, .basis = "rho"}, 0.763772296778217},
                        {"DEIS-3 rho",
                         "deis",
                         {.order = 3, .lower_order_final = false, .basis = "rho"},
                         0.771536265503003},
                        {"iPNDM-4", "ipndm", {.order = 4}, 0.885021085646414}};
  for (const Case& one : cases) EXPECT_NEAR(run(one, grid), one.expected, 1e-11) << one.name;
}

TEST(Reference, TenStepsThatEndAboveTheData) {
  std::vector<Level> levels = process().levels(10, "trailing");
  levels.back() = process().schedule().level(0);
  const Case cases[] = {{"DEIS-2 log-rho",
                         "deis",
                         {.order = 2, .lower_order_final = false, .basis = "log_rho"},
                         0.906762516104805},
                        {"DEIS-3 log-rho",
                         "deis",
                         {.order = 3, .lower_order_final = false, .basis = "log_rho"},
                         1.00784196513996}};
  for (const Case& one : cases) EXPECT_NEAR(run(one, levels), one.expected, 1e-11) << one.name;
}

// The whole way of a Gaussian is known: x_p = a_p m + sqrt(...) (x_t - a_t m).
TEST(Reference, ManyStepsReachTheExactSolution) {
  const Grid grid = make_grid(process(), {.steps = 1000, .spacing = "log_snr"});
  const Level from = grid.levels.front();
  const double c2 = 0.25, m = 0.3;
  const double spread = from.alpha * from.alpha * c2 + from.sigma * from.sigma;
  const double exact = m + std::sqrt(c2 / spread) * (1.2 - from.alpha * m);
  for (const char* name :
       {"heun", "dpm2", "dpmpp_2m", "dpmpp_3m", "unipc", "ipndm", "deis", "pndm"})
    EXPECT_NEAR(run({name, name, {}, 0}, grid), exact, 1e-3) << name;
}

}  // namespace tweedie

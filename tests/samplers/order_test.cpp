// How fast the error of each solver falls with the step: log2 of the ratio between steps of h and
// h/2, against theory. The start is exact, history included, the end above the data. The lines that
// begin with a bar are a table.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/samplers/oracle.h"

namespace tweedie {
namespace {

constexpr int64_t kFewest = 64, kMost = 512, kBefore = 3;  // steps; steps of history

// r of a node, u in [0,1]; below 0 the history, noisier still.
using RatioAt = double (*)(double u);
double geometric(double u) { return 4 * std::pow(1. / 16, u); }
double near_the_data(double u) { return 1 * std::pow(1. / 16, u); }
double linear_near_the_data(double u) { return 1 - 0.8 * u; }
double linear(double u) { return 3 - 2.5 * u; }

// What is not as it is unless said: "order 3, solver_type bh1".
std::string said(const SamplerOptions& options) {
  std::string text;
  const Json all = to_json(options), usual = to_json(SamplerOptions{});
  for (const auto& [name, value] : all.items())
    if (value != usual[name])
      text += formatted("{}{} {}", text.empty() ? "" : ", ", name,
                        value.is_string() ? value.get<std::string>() : value.dump());
  return text;
}

void print_row(const std::string& row) {
  static const bool head = [] {
    std::puts("| sampler | options | nodes | start | order in theory | measured |");
    return std::puts("|---|---|---|---|---|---|") >= 0;
  }();
  if (head) std::puts(row.c_str());
}

// Nodes and the exact solution there, from the oldest history of the coarsest grid to the end.
struct Exact {
  Exact(Path path_, RatioAt ratio, const char* nodes_) : path(std::move(path_)), nodes(nodes_) {
    const Denoiser denoise = plane_mixture();
    const int64_t before = kBefore * kMost / kFewest;
    for (int64_t i = -before; i <= kMost; ++i) {
      const Level level = path.at_ratio(ratio(static_cast<double>(i) / kMost));
      x.push_back(x.empty() ? level.sigma * plane_points()
                            : exact_way(denoise, x.back(), levels.back(), level, path, 4));
      levels.push_back(level);
    }
    start = before;
  }

  double error(const char* sampler, SamplerOptions options, int64_t steps, bool exact_start) const {
    const Denoiser denoise = plane_mixture();
    const int64_t stride = kMost / steps;
    Grid grid({}, path);
    for (int64_t i = start; i <= start + kMost; i += stride) grid.levels.push_back(levels[i]);
    for (int64_t j = 1; exact_start && j <= kBefore; ++j) {
      const int64_t i = start - j * stride;
      options.history.push_back(
          {levels[i], denoise(x[i], levels[i]).x0, implied_eps(denoise, x[i], levels[i])});
    }
    const Tensor end = solve(sampler, denoise, x[start], grid, options);
    return (end - x.back()).norm().item<double>();
  }

  void expect(const char* sampler, const SamplerOptions& options, double order,
              bool exact_start = true) const {
    double coarse = error(sampler, options, kFewest, exact_start);
    std::string measured;
    for (int64_t steps = 2 * kFewest; steps <= kMost; steps *= 2) {
      const double fine = error(sampler, options, steps, exact_start);
      EXPECT_NEAR(std::log2(coarse / fine), order, 0.2)
          << sampler << ", " << steps << " steps, error " << fine;
      EXPECT_GT(fine, 1e-12) << sampler << ": at the floor of float64";
      measured += formatted("{}{:.2f}", measured.empty() ? "" : ", ", std::log2(coarse / fine));
      coarse = fine;
    }
    print_row(formatted("| {} | {} | {} | {} | {:g} | {} |", sampler, said(options), nodes,
                        exact_start ? "exact" : "its own", order, measured));
  }

  Path path;
  const char* nodes;  // what is equal from one to the next
  std::vector<Level> levels;
  std::vector<Tensor> x;
  int64_t start = 0;
};

const Exact& log_snr() {  // nodes equally spaced in log-SNR
  static const Exact exact(vp_path(Schedule(make_betas({}))), geometric, "log-SNR");
  return exact;
}
const Exact& equal_ratio() {  // nodes equally spaced in sigma/alpha
  static const Exact exact(ve_path(), linear, "sigma/alpha");
  return exact;
}

// sigma and time are one, so that equal steps of one are equal steps of the other.
Path linear_time() {
  const auto at = [](double r) { return Level{1, r, r}; };
  return {at, at};
}

}  // namespace

// DDIM Eq. 13, EDM Alg. 1, DPM-Solver Alg. 1.
TEST(Order, OfTheOneStepMethods) {
  log_snr().expect("euler", {}, 1);
  log_snr().expect("ddim", {}, 1);
  log_snr().expect("heun", {}, 2);
  log_snr().expect("dpm2", {}, 2);
}

// DPM++ Alg. 2, Prop. 4.1.
TEST(Order, OfTheDpmSolvers) {
  log_snr().expect("dpmpp_2m", {}, 2);
  log_snr().expect("dpmpp_2m", {.solver_type = "heun"}, 2);
  log_snr().expect("dpmpp_3m", {}, 3);
  log_snr().expect("dpmpp_3m", {.rules = "diffusers"}, 2);  // without the 2
}

// UniPC Alg. 1, Alg. 2, Sec. 3: p + 1 for whatever B(h) that goes to 0 as h does.
TEST(Order, OfUniPcIsOneMoreThanOfItsPredictor) {
  log_snr().expect("unipc", {.order = 1, .corrector = false}, 1);
  for (const char* B : {"bh1", "bh2"}) {
    log_snr().expect("unipc", {.order = 2, .solver_type = B, .corrector = false}, 2);
    log_snr().expect("unipc", {.order = 3, .solver_type = B, .corrector = false}, 3);
    log_snr().expect("unipc", {.order = 1, .solver_type = B}, 2);
    log_snr().expect("unipc", {.order = 2, .solver_type = B}, 3);
    log_snr().expect("unipc", {.order = 3, .solver_type = B}, 4);
  }
}

// DEIS Sec. 3.
TEST(Order, OfDeisIsTheNumberOfItsNodes) {
  for (const char* basis : {"rho", "log_rho"}) {
    log_snr().expect("deis", {.order = 2, .basis = basis}, 2);
    log_snr().expect("deis", {.order = 3, .basis = basis}, 3);
  }
  const Exact smooth(flow_path(), geometric, "log-SNR, flow path");  // t is smooth in r: no table
  smooth.expect("deis", {.order = 2, .basis = "t"}, 2);
  smooth.expect("deis", {.order = 3, .basis = "t"}, 3);
  // A table's t has a kink at each entry, which order 3 meets where steps are as fine as that.
  ProcessOptions options;
  options.num_train_timesteps = 16000;
  options.beta_start = 0.1 / 16000, options.beta_end = 20. / 16000;
  const Exact fine(vp_path(Schedule(make_betas(options))), geometric, "log-SNR, T = 16000");
  log_snr().expect("deis", {.order = 2, .basis = "t"}, 2);
  fine.expect("deis", {.order = 3, .basis = "t"}, 3);
}

// PNDM Sec. 3.
TEST(Order, OfIpndmIsFourWhereTheRatioIsEquallySpacedAndTwoElsewhere) {
  equal_ratio().expect("ipndm", {.order = 4}, 4);
  equal_ratio().expect("ipndm", {.order = 3}, 3);
  log_snr().expect("ipndm", {.order = 4}, 2);
}

// PNDM Sec. 3.
TEST(Order, OfPndmIsFourWhereTimeIsTheRatio) {
  Exact(linear_time(), linear, "sigma/alpha = t").expect("pndm", {}, 4, /*exact_start=*/false);
}

TEST(Order, FromItsOwnStartIsWhatTheStartAllows) {
  const Exact exact(vp_path(Schedule(make_betas({}))), near_the_data, "log-SNR");
  exact.expect("dpmpp_2m", {}, 2, false);
  exact.expect("dpmpp_3m", {}, 2, false);
  exact.expect("deis", {.order = 3, .basis = "rho"}, 2, false);
  exact.expect("unipc", {.order = 2}, 3, false);
  exact.expect("unipc", {.order = 3}, 3, false);
  Exact(ve_path(), linear_near_the_data, "sigma/alpha").expect("ipndm", {.order = 4}, 2, false);
}

}  // namespace tweedie

// Every schedule x prediction x sampler x spacing, and every variance for the samplers that heed
// one, on the exact mixture through the network that a perfect training would give: finite, and the
// mixture's mean and spread. It reads the lists, so that a new entry is covered by itself.
#include <gtest/gtest.h>

#include "tests/samplers/oracle.h"
#include "tests/support/errors.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/schedule_names.h"

namespace tweedie {
namespace {

constexpr int64_t kDraws = 1500, kSteps = 125;
constexpr double kMean = 0.1, kStd = 0.5408;  // of the mixture below

GaussianMixture mixture() {
  return {{0.5, 0.5}, at::tensor({-0.4, 0.6}, at::kDouble).view({2, 1, 1, 1}), {0.02, 0.065}};
}

// Data noised to the first level: where a schedule keeps signal to the end, noise alone is no
// start.
Tensor noised(const Level& level) {
  const GaussianMixture m = mixture();
  const int64_t half = kDraws / 2;
  const Tensor z = SeededNoise(1, 0, {kDraws, 1, 1, 1}).init().to(at::kDouble);
  const Tensor e = SeededNoise(2, 0, {kDraws, 1, 1, 1}).init().to(at::kDouble);
  Tensor x0 = z.clone();
  for (int64_t i = 0; i < 2; ++i)
    x0.narrow(0, i * half, half)
        .copy_(m.means[i] + std::sqrt(m.variances[i]) * z.narrow(0, i * half, half));
  return level.alpha * x0 + level.sigma * e;
}

// What the trained network would say: the prediction, and beside it the learned variance.
class Network {
 public:
  Network(const Process& process, const Grid& grid) : process_(process), grid_(grid) {}

  Tensor operator()(const Tensor& input, const Tensor& time) const {
    const double t = time[0].item<double>();
    const Level at = grid_.path.at_time(t);
    const std::string& type = process_.options().prediction_type;
    const double d = process_.options().sigma_data;
    const double power = std::sqrt(at.alpha * at.alpha * d * d + at.sigma * at.sigma);
    const Tensor x = type == "edm" ? input * power : input;
    const Estimate e = exact_(x, at);
    const Tensor out = type == "epsilon"           ? e.eps
                       : type == "sample"          ? e.x0
                       : type == "flow_prediction" ? e.eps - e.x0
                       : type == "edm"
                           ? (at.sigma / d * e.x0 - d * at.alpha * e.eps) / power  // EDM Eq. 8
                           : at.alpha * e.eps - at.sigma * e.x0;
    const std::string& variance = process_.options().variance_type;
    if (!variance.starts_with("learned")) return out;
    const double share = variance == "learned" ? log_variance(t) : 0;
    return at::cat({out, at::full_like(out, share)}, 1);
  }

 private:
  // ln of the posterior variance of the step that begins at t.
  double log_variance(double t) const {
    for (int64_t i = 0; i + 1 < grid_.steps(); ++i)
      if (std::abs(grid_.levels[i].t - t) < 1e-6)
        return std::log(posterior(grid_.levels[i], grid_.levels[i + 1]).variance);
    return 0;  // the step to the data draws nothing
  }

  Process process_;
  Grid grid_;
  Denoiser exact_ = mixture_denoiser(mixture());
};

Tensor draw(const ProcessOptions& options, const SamplerInfo& sampler, const std::string& spacing) {
  const Process process(options);
  const Grid grid = make_grid(process, {.steps = kSteps, .spacing = spacing});
  SeededNoise noise(3, 0, {kDraws, 1, 1, 1});
  SamplerOptions sampling;
  sampling.variance_type = options.variance_type;
  sampling.s_churn = 10;
  return sampler.run(process.denoiser(Network(process, grid)), noised(grid.levels.front()), grid,
                     sampling, noise, {});
}

void expect_the_mixture(const ProcessOptions& options, const SamplerInfo& sampler,
                        const std::string& spacing) {
  SCOPED_TRACE(fmt::format("{} {} {} {} {} {}", options.path, options.beta_schedule,
                           options.prediction_type, sampler.name, spacing, options.variance_type));
  const Tensor x = draw(options, sampler, spacing);
  // On a strided list fixed_large adds too much noise, as advice() says.
  const bool large =
      sampler.heeds("variance_type") && options.variance_type.starts_with("fixed_large");
  EXPECT_NEAR(x.mean().item<double>(), kMean, 0.06);
  EXPECT_NEAR(x.std().item<double>(), kStd, large ? 0.12 : 0.06);
}

}  // namespace

class EveryCombination : public ::testing::TestWithParam<SamplerInfo> {};
INSTANTIATE_TEST_SUITE_P(Samplers, EveryCombination, ::testing::ValuesIn(samplers()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(EveryCombination, DrawsFromTheMixture) {
  ProcessOptions options;
  options.clip_sample = false;
  const std::vector<std::string> variances = GetParam().heeds("variance_type")
                                                 ? variance_types()
                                                 : std::vector<std::string>{"fixed_small"};
  std::vector<std::string> spacings = spacing_names();
  for (const char* respacing : {"125", "ddim125"}) spacings.push_back(respacing);
  for (const std::string& schedule : schedule_names())
    for (const char* prediction : {"epsilon", "sample", "v_prediction"})
      for (const std::string& variance : variances)
        for (const std::string& spacing : spacings) {
          options.beta_schedule = schedule;
          options.prediction_type = prediction;
          options.variance_type = variance;
          expect_the_mixture(options, GetParam(), spacing);
        }
}

TEST_P(EveryCombination, BeginsAtPureNoiseUnlessTheNetworkPredictsIt) {
  ProcessOptions options;
  options.clip_sample = false;
  options.rescale_betas_zero_snr = true;
  for (const char* prediction : {"sample", "v_prediction"}) {
    options.prediction_type = prediction;
    for (const char* spacing : {"trailing", "linspace", "leading", "karras"})
      expect_the_mixture(options, GetParam(), spacing);
  }
  options.prediction_type = "epsilon";
  EXPECT_TRUE(testing::contains(testing::message_of([&] { draw(options, GetParam(), "trailing"); }),
                                "leaves no signal"));
}

TEST_P(EveryCombination, FollowsTheOtherPaths) {
  ProcessOptions options;
  options.clip_sample = false;
  for (const auto& [path, prediction] : {std::pair("edm", "edm"), {"flow", "flow_prediction"}})
    for (const char* spacing : {"leading", "trailing", "quadratic", "karras", "log_snr", "125"}) {
      options.path = path;
      options.prediction_type = prediction;
      expect_the_mixture(options, GetParam(), spacing);
    }
}

}  // namespace tweedie

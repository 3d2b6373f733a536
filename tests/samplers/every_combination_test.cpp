// Every schedule x prediction x variance x sampler, in turn over every spacing, on an exact mixture
// of two components far apart, through the network that a perfect training would give: the weight
// of each component, its mean and its variance. It reads the lists, so that a new entry is covered
// by itself. That predictions, which are one another's algebra, change nothing is tested to the
// last digits beside it.
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "tests/samplers/oracle.h"
#include "tests/support/errors.h"
#include "tweedie/process/config_json.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/schedule_names.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

constexpr int64_t kDraws = 1500, kSteps = 100;
constexpr double kWeight[] = {0.35, 0.65}, kVariance[] = {0.06, 0.1};
constexpr double kMean[][2] = {{-1, 0.5}, {0.9, -0.6}};  // 3.9 standard deviations to each side
constexpr double kShare = -0.6;                          // of a learned range: 0.2 of the way up

GaussianMixture mixture() {
  const Tensor means =
      at::tensor({kMean[0][0], kMean[0][1], kMean[1][0], kMean[1][1]}, at::kDouble);
  return {{kWeight[0], kWeight[1]}, means.view({2, 2, 1, 1}), {kVariance[0], kVariance[1]}};
}

Tensor normal(uint64_t seed) {
  return SeededNoise(seed, 0, {kDraws, 2, 1, 1}).init().to(at::kDouble);
}

// Draws first .. first + n - 1 of data noised to the first level: where a schedule keeps signal to
// the end, noise alone is no start.
Tensor noised(const Level& level, int64_t first, int64_t n) {
  static const Tensor eps = normal(2);
  static const Tensor x0 = [] {
    const GaussianMixture m = mixture();
    const Tensor z = normal(1), data = at::empty_like(z);
    const int64_t split = std::lround(kDraws * kWeight[0]);
    for (const auto& [i, from, count] :
         {std::tuple<int64_t, int64_t, int64_t>{0, 0, split}, {1, split, kDraws - split}})
      data.narrow(0, from, count)
          .copy_(m.means[i] + std::sqrt(m.variances[i]) * z.narrow(0, from, count));
    return data;
  }();
  return level.alpha * x0.narrow(0, first, n) + level.sigma * eps.narrow(0, first, n);
}

// The same draws for every run, made once, and how many of them were taken.
class Bank : public Noise {
 public:
  Bank(int64_t first, int64_t n) : first_(first), n_(n) {}
  Tensor init() override { return draw(); }
  Tensor draw() override {
    static const Tensor all = [] {
      SeededNoise noise(3, 0, {kDraws, 2, 1, 1});
      std::vector<Tensor> list;
      for (int64_t i = 0; i < kSteps; ++i) list.push_back(noise.draw());
      return at::stack(list).to(at::kDouble);
    }();
    return all[draws++ % kSteps].narrow(0, first_, n_);
  }
  int64_t draws = 0;

 private:
  int64_t first_, n_;
};

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
    const double beside = variance == "learned" ? log_variance(t) : kShare;
    return at::cat({out, at::full_like(out, beside)}, 1);
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

struct Run {
  Tensor x;
  double last_ratio;  // sigma/alpha where the step to the data begins
  bool noisy;
};

Run draw(const ProcessOptions& options, const SamplerInfo& sampler, const std::string& spacing,
         int64_t steps = kSteps, int64_t first = 0, int64_t n = kDraws) {
  const Process process(options);
  const Grid grid = make_grid(process, {.steps = steps, .spacing = spacing});
  Bank noise(first, n);
  SamplerOptions sampling;
  sampling.variance_type = options.variance_type;
  sampling.s_churn = 10;
  const Tensor x = sampler.run(process.denoiser(Network(process, grid)),
                               noised(grid.levels.front(), first, n), grid, sampling, noise, {});
  return {x, noise_ratio(grid.levels[grid.steps() - 1]), noise.draws > 0};
}

// What 100 steps are off besides chance in their worst spacing, measured beside the library: means
// in standard deviations, variances relatively. laplace begins and ends with a long step.
struct Bias {
  double mean, variance;
};
Bias bias_of(const ProcessOptions& options, bool noisy) {
  if (options.path == "vp" && options.beta_schedule == "laplace") return {0.35, 0.55};
  return {0.2, noisy ? 0.3 : 0.15};
}

void expect_the_mixture(const ProcessOptions& options, const SamplerInfo& sampler,
                        const std::string& spacing) {
  SCOPED_TRACE(formatted("{} {}{} {} {} {} {}", options.path, options.beta_schedule,
                         options.trained_betas ? " (trained)" : "", options.prediction_type,
                         sampler.name, spacing, options.variance_type));
  const Run run = draw(options, sampler, spacing);
  const Bias bias = bias_of(options, run.noisy);
  const Tensor points = run.x.reshape({-1, 2});
  const GaussianMixture m = mixture();
  const Tensor apart = (m.means[1] - m.means[0]).flatten(), along = points.matmul(apart);
  // Between the means, as many standard deviations from each.
  const double near = std::sqrt(kVariance[0]), far = std::sqrt(kVariance[1]);
  const Tensor middle = m.means[0].flatten() + near / (near + far) * apart;
  const Tensor right = along > middle.dot(apart);
  for (int64_t i = 0; i < 2; ++i) {
    const Tensor mine = points.index_select(0, right.eq(i == 1).nonzero().flatten());
    const double n = static_cast<double>(mine.size(0));
    ASSERT_GT(n, 100) << "of component " << i;
    const double chance = std::sqrt(kWeight[i] * (1 - kWeight[i]) / kDraws);
    EXPECT_NEAR(n / kDraws, kWeight[i], 4.5 * chance + 0.025) << i;
    const Tensor off = (mine.mean(0) - m.means[i].flatten()) / std::sqrt(kVariance[i]);
    EXPECT_LT(off.abs().max().item<double>(), 4.5 / std::sqrt(n) + bias.mean) << i;
    // The step to the data leads to E[x_0|x], which varies less than x_0.
    const double left = kVariance[i] / (kVariance[i] + run.last_ratio * run.last_ratio);
    const double found = mine.var(0).mean().item<double>() / (left * kVariance[i]);
    EXPECT_NEAR(found, 1, 4.5 / std::sqrt(n) + bias.variance) << i;  // 2n numbers: 1/sqrt(n)
  }
}

// Every name, and betas without one: a log-SNR that falls in a straight line.
std::vector<ProcessOptions> tables() {
  std::vector<ProcessOptions> out;
  ProcessOptions options;
  options.clip_sample = false;
  for (const std::string& name : schedule_names()) {
    options.beta_schedule = name;
    out.push_back(options);
  }
  options.beta_schedule = "linear", options.trained_betas.emplace();
  double before = 1;
  for (int64_t k = 0; k < 1000; ++k) {
    const double abar = 1 / (1 + std::exp(-9.2 + 19.3 * static_cast<double>(k) / 999));
    options.trained_betas->push_back(1 - abar / before);
    before = abar;
  }
  out.push_back(options);
  return out;
}

std::vector<std::string> spacings() {
  std::vector<std::string> all = spacing_names();
  for (const char* respacing : {"100", "ddim100"}) all.push_back(respacing);
  return all;
}

}  // namespace

class EveryCombination : public ::testing::TestWithParam<SamplerInfo> {};
INSTANTIATE_TEST_SUITE_P(Samplers, EveryCombination, ::testing::ValuesIn(samplers()),
                         [](const auto& info) { return std::string(info.param.name); });

// Each schedule meets every spacing and every prediction, for samplers that heed a variance with
// each of them; the others see a network that learned one, too.
TEST_P(EveryCombination, DrawsFromTheMixture) {
  const std::vector<std::string> predictions = prediction_types(), variances = variance_types();
  const std::vector<ProcessOptions> all = tables();
  const size_t each = GetParam().heeds("variance_type") ? variances.size() : 1;
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < spacings().size(); ++j)
      for (size_t v = 0; v < each; ++v) {
        ProcessOptions options = all[i];
        options.prediction_type = predictions[(i + j + v) % predictions.size()];
        options.variance_type = variances[each > 1 ? v : (i + 2 * j) % variances.size()];
        expect_the_mixture(options, GetParam(), spacings()[j]);
      }
}

TEST_P(EveryCombination, BeginsAtPureNoiseUnlessTheNetworkPredictsIt) {
  ProcessOptions options;
  options.clip_sample = false;
  options.rescale_betas_zero_snr = true;
  const char* others[] = {"sample", "v_prediction", "flow_prediction", "edm"};
  const char* lists[] = {"trailing", "linspace", "leading", "karras"};
  for (int i = 0; i < 4; ++i)
    for (const int j : {i, (i + 1) % 4}) {
      options.prediction_type = others[j];
      expect_the_mixture(options, GetParam(), lists[i]);
    }
  options.prediction_type = "epsilon";
  EXPECT_TRUE(
      contains(message_of([&] { draw(options, GetParam(), "trailing"); }), "leaves no signal"));
}

// Each path, VE's geometric levels and a shifted flow among them, with every prediction, in turn
// over the spacings and the variances.
TEST_P(EveryCombination, FollowsTheOtherPaths) {
  const std::vector<std::string> predictions = prediction_types(), variances = variance_types();
  std::vector<ProcessOptions> paths(4);
  for (ProcessOptions& options : paths) options.clip_sample = false, options.path = "edm";
  paths[1].sigma_schedule = "exponential";
  paths[2].path = "flow";
  paths[3].path = "flow", paths[3].shift = 3;
  for (const ProcessOptions& path : paths)
    for (size_t j = 0; j < 2 * predictions.size(); ++j) {
      ProcessOptions options = path;
      options.prediction_type = predictions[j / 2];
      options.variance_type = variances[j % variances.size()];
      const std::string spacing = spacings()[j % spacings().size()];
      if (options.path == "flow" && options.prediction_type == "epsilon" && spacing != "leading") {
        EXPECT_TRUE(
            contains(message_of([&] { draw(options, GetParam(), spacing); }), "leaves no signal"));
        continue;  // the lists that begin at the last step
      }
      expect_the_mixture(options, GetParam(), spacing);
    }
}

TEST_P(EveryCombination, ThePredictionChangesNothing) {
  for (const char* path : {"vp", "edm", "flow"}) {
    ProcessOptions options;
    options.clip_sample = false;
    options.path = path;
    const auto run = [&](const std::string& prediction) {  // on the border of the components
      options.prediction_type = prediction;
      return draw(options, GetParam(), "leading", 12, 520, 10).x;
    };
    const Tensor expected = run("sample");
    for (const std::string& prediction : prediction_types())
      // x_0 from eps is x less eps times 160 at most, of which float64 keeps ten digits and more.
      EXPECT_TRUE(run(prediction).allclose(expected, 1e-9, 1e-9)) << path << " " << prediction;
  }
}

// What no class of diffusers has together is refused by name where a folder would be written.
TEST(PathsAndPredictions, CanBeSavedWhereDiffusersHasThemTogether) {
  for (const char* path : {"vp", "edm", "flow"})
    for (const std::string& prediction : prediction_types()) {
      ProcessOptions options;
      options.path = path, options.prediction_type = prediction;
      const std::string own = options.path == "flow" ? "flow_prediction" : options.path;
      const std::string message = message_of([&] { scheduler_class(options); });
      const bool has = options.path == "vp" || prediction == own;
      EXPECT_EQ(message.empty(), has) << path << " " << prediction;
      EXPECT_TRUE(has || (contains(message, prediction) && contains(message, path))) << message;
    }
}

}  // namespace tweedie

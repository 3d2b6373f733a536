// A training on data whose every expectation is known: the Gaussian mixture of points:mixture.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/support/scratch.h"
#include "tweedie/data/points.h"
#include "tweedie/pipeline/evaluate.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/points.h"
#include "tweedie/pipeline/training.h"
#include "tweedie/process/mixture.h"

namespace tweedie {
namespace {

GaussianMixture mixture() {
  const PointMixture m = point_mixture();
  std::vector<double> means;
  for (const auto& mean : m.means) means.insert(means.end(), mean.begin(), mean.end());
  return {m.weights, at::tensor(means, at::kDouble).view({-1, 2, 1, 1}), m.variances};
}

// Mean distance between the rows of a and those of b.
double distance(const Tensor& a, const Tensor& b) { return at::cdist(a, b).mean().item<double>(); }

// Szekely and Rizzo's energy distance: 0 for equal distributions.
double energy_distance(const Tensor& a, const Tensor& b) {
  return 2 * distance(a, b) - distance(a, a) - distance(b, b);
}

// alpha and sigma of each timestep, [N] float64.
std::pair<Tensor, Tensor> levels_of(const Process& process, const Tensor& t) {
  std::vector<double> alpha, sigma;
  for (int64_t i = 0; i < t.numel(); ++i) {
    const Level at = process.schedule().level(t[i].item<int64_t>());
    alpha.push_back(at.alpha), sigma.push_back(at.sigma);
  }
  return {at::tensor(alpha, at::kDouble), at::tensor(sigma, at::kDouble)};
}

// One model for all tests.
class TrainedOnTheMixture : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);  // a network this small gains nothing from more
    scratch_ = std::make_unique<testing::Scratch>();
    Config config = preset_for(*open_dataset({.spec = "points:mixture"}), "points:mixture", 1);
    config.train.minutes.reset();
    config.train.steps = kSteps;
    config.train.lr_schedule = "cosine";
    config.train.checkpoint_every = kSteps;
    config.train.preview_every = 0;
    config.train.eval_every = 0;
    Training(config, *scratch_ / "run").run({}, {}, {});
    model_ = std::make_unique<Model>(load_model(*scratch_ / "run"));
  }
  static void TearDownTestSuite() { model_.reset(), scratch_.reset(); }

  static constexpr int64_t kSteps = 4000;
  static std::unique_ptr<testing::Scratch> scratch_;
  static std::unique_ptr<Model> model_;
};
std::unique_ptr<testing::Scratch> TrainedOnTheMixture::scratch_;
std::unique_ptr<Model> TrainedOnTheMixture::model_;

}  // namespace

// E|eps - eps*|^2 of the exact denoiser is what no network gets below.
TEST_F(TrainedOnTheMixture, ReachesTheIrreducibleLoss) {
  const at::NoGradGuard no_grad;
  const DatasetPtr data = open_dataset({.spec = "points:mixture@test"});
  const Tensor x0 = points_of(*data, data->size()).view({-1, 2, 1, 1});
  const int64_t n = x0.size(0);
  const Process process(model_->process_options());
  at::manual_seed(1);
  const Tensor eps = at::randn_like(x0), t = at::randint(0, 1000, {n}, at::kLong);
  const Tensor x_t = process.add_noise(x0, eps, t);
  const auto [alpha, sigma] = levels_of(process, t);
  const Estimate best = mixture_estimate(mixture(), x_t, alpha, sigma);
  const Tensor said = model_->net->forward(x_t.to(at::kFloat), t).to(at::kDouble);
  const double least = (eps - best.eps).square().mean().item<double>();
  const double reached = (eps - said).square().mean().item<double>();
  const double excess = (said - best.eps).square().mean().item<double>();
  std::printf("irreducible loss %.5f, reached %.5f; E|eps - eps*|^2 %.5f\n", least, reached,
              excess);
  EXPECT_LT(reached, 1.03 * least);
  EXPECT_LT(excess, 0.03 * least);
}

TEST_F(TrainedOnTheMixture, DrawsTheMixture) {
  constexpr int64_t kDrawn = 2000;
  const GenerateRequest request{
      .n = kDrawn, .seed = 1, .batch = kDrawn, .sampler = "ddpm", .steps = 1000};
  Tensor drawn;
  generate(*model_, request, plan(*model_, request),
           {.images = [&](int64_t, const Tensor& x) { drawn = x; }});
  const Tensor ours = to_points(drawn, *model_->points());
  const auto fresh = [](uint64_t seed) {
    return mixture_draw(mixture(), kDrawn, Rng(seed)).view({-1, 2});
  };
  double chance = 0;  // between draws of the mixture itself
  for (uint64_t seed = 0; seed < 10; ++seed)
    chance = std::max(chance, energy_distance(fresh(100 + seed), fresh(200 + seed)));
  const double found = energy_distance(ours, fresh(1));
  std::printf("energy distance %.5f, between draws of the mixture at most %.5f\n", found, chance);
  EXPECT_LT(found, 1.5 * chance);
  const Tensor off = ours + at::tensor({0.15, 0.}, at::kDouble);  // what would be found
  EXPECT_GT(energy_distance(off, fresh(1)), 1.5 * chance);
}

// The exact denoiser's bound lies above the entropy by what its fixed variances cost; the network's
// above that by what it has not learnt. By the ODE no variance is fixed: that lies below its bound.
TEST_F(TrainedOnTheMixture, BoundsTheEntropyNearlyAsTheExactDenoiserDoes) {
  const BpdOptions how{.images = 5000, .t_per_image = 32};
  EvaluateRequest request{.data = "points:mixture", .bpd = how, .batch = 1000};
  request.variance_type = "fixed_large";
  const Bpd found = evaluate_bpd(*model_, request).bpd;
  const DatasetPtr data = open_dataset({.spec = "points:mixture@test"});
  const Process process(model_->process_options());
  const LabelledNetwork exact = [&](const Tensor& x, const Tensor& t, const Tensor&) {
    const auto [alpha, sigma] = levels_of(process, t);
    return mixture_estimate(mixture(), x, alpha, sigma).eps;
  };
  std::vector<int64_t> indices(1000);
  std::iota(indices.begin(), indices.end(), 0);
  const VariationalBound bound(
      process.levels(1000), "fixed_large", Decoder::kContinuous,
      data_variance(process.options(), process.schedule().level(0), Decoder::kContinuous));
  const LoaderOptions loader{
      .batch_size = 1000, .height = 1, .width = 1, .channels = 2, .points = data->point_space()};
  const Bpd best = variational_bpd(exact, process, bound, indices, data, loader, at::kCPU, how);
  const Tensor x = points_of(*data, data->size()).view({-1, 2, 1, 1});
  const double entropy =
      -mixture_log_density(mixture(), x).mean().item<double>() / 2 / std::log(2.0);
  std::printf("entropy %.4f, exact bound %.4f +- %.4f, bound %.4f +- %.4f bits/dim\n", entropy,
              best.total, best.image_stderr, found.total, found.image_stderr);
  request.ode.images = 2000;
  request.ode.ode.divergence = "exact";
  const OdeBpd ode = evaluate_bpd_ode(*model_, request).bpd;
  const double cross = -mixture_log_density(mixture(), x.narrow(0, 0, 2000)).mean().item<double>();
  std::printf("by the ODE %.4f on points that have %.4f\n", ode.total, cross / 2 / std::log(2.0));
  EXPECT_GT(ode.total, cross / 2 / std::log(2.0) - 0.02);  // nothing codes below the entropy
  EXPECT_LT(ode.total, found.total);
  const double noise = 3 * std::hypot(best.image_stderr, found.image_stderr);
  EXPECT_GT(best.total, entropy - 3 * best.image_stderr);
  EXPECT_LT(best.total, entropy + 0.05 + 3 * best.image_stderr);
  EXPECT_GT(found.total, best.total - noise);
  EXPECT_LT(found.total, best.total + 0.2 + noise);
}

// VDM: the same network and objective, the schedule trained beside it.
TEST(LearnedScheduleOnTheMixture, BoundsItTighterThanTheLinearOne) {
  at::set_num_threads(1);
  const testing::Scratch scratch;
  const auto trained = [&](const char* schedule) {
    Config config = preset_for(*open_dataset({.spec = "points:mixture"}), "points:mixture", 1);
    config.train.minutes.reset();
    config.train.steps = 2500;
    config.train.preview_every = config.train.eval_every = 0;
    config.process.beta_schedule = schedule;
    config.objective.loss = "vlb";
    Training(config, scratch / schedule).run({}, {}, {});
    Model model = load_model(scratch / schedule);
    const EvaluateRequest request{
        .data = "points:mixture", .bpd = {.images = 4000, .t_per_image = 32}, .batch = 1000};
    return evaluate_bpd(model, request).bpd;
  };
  const Bpd linear = trained("linear"), learned = trained("learned");
  std::printf("bits/dim: linear %.4f +- %.4f (%.4f of it drawn), learned %.4f +- %.4f (%.4f)\n",
              linear.total, linear.image_stderr, linear.estimator_stderr, learned.total,
              learned.image_stderr, learned.estimator_stderr);
  EXPECT_LT(learned.total, linear.total - 3 * linear.image_stderr);
  EXPECT_LT(learned.estimator_stderr, linear.estimator_stderr);
}

}  // namespace tweedie

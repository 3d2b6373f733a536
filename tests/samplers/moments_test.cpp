// What every sampler, with noise and without, makes of a Gaussian in the plane whose two numbers
// hang together: E[x_0|x] = m + a S (a^2 S + s^2 I)^-1 (x - a m) is affine, so that a sampler is an
// affine map of its start and its draws. Its mean and covariance are found without chance, one unit
// of one draw an example.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tweedie/samplers/sampler.h"

namespace tweedie {
namespace {

Tensor mean() { return at::tensor({0.3, -0.2}, at::kDouble); }
Tensor covariance() { return at::tensor({0.25, 0.12, 0.12, 0.1}, at::kDouble).view({2, 2}); }

// Of x_t = a x_0 + s eps, and the matrix that leads back to E[x_0|x_t].
Tensor marginal(const Level& at) {
  return at.alpha * at.alpha * covariance() + at.sigma * at.sigma * at::eye(2, at::kDouble);
}
Tensor gain(const Level& at) {
  return at.alpha * covariance().matmul(at::linalg_inv(marginal(at)));
}

Estimate exact(const Tensor& x, const Level& at) {
  const Tensor x0 = mean() + (x - at.alpha * mean()).matmul(gain(at).t());
  return {x0, (x - at.alpha * x0) / at.sigma, at::full_like(x, -0.6)};  // a fifth of learned_range
}

// Of examples 0, 1 and 2 the draws are 0; of 3 + 2i + d, draw i is 1 in its number d, else 0.
class Units : public Noise {
 public:
  explicit Units(int64_t n) : n_(n) {}
  Tensor init() override { return at::zeros({n_, 2}, at::kDouble); }
  Tensor draw() override {
    const Tensor z = init();
    for (int64_t d = 0; d < 2; ++d) z[3 + 2 * next_ + d][d] = 1;
    ++next_;
    return z;
  }

 private:
  int64_t n_, next_ = 0;
};

struct Moments {
  Tensor mean, covariance;
};
Moments moments_of(const char* sampler, const SamplerOptions& options, const Grid& grid) {
  const Level first = grid.levels.front();
  const Tensor root = at::linalg_cholesky(marginal(first));
  const int64_t n = 3 + 2 * grid.steps();
  const Tensor x = (first.alpha * mean()).repeat({n, 1});
  for (int64_t d = 0; d < 2; ++d) x[1 + d].add_(root.select(1, d));
  Units noise(n);
  const Tensor end = find_sampler(sampler).run(exact, x, grid, options, noise, {});
  const Tensor off = end - end[0];
  return {end[0], off.t().matmul(off)};
}

// The relative error of the covariance after so many steps.
double error(const char* sampler, const SamplerOptions& options, int64_t steps) {
  const Grid grid = make_grid(Process{ProcessOptions{}}, {.steps = steps, .spacing = "karras"});
  const Moments found = moments_of(sampler, options, grid);
  EXPECT_LT((found.mean - mean()).abs().max().item<double>(), 1e-11)
      << sampler;  // whatever it does
  // The step to the data leads to E[x_0|x], of x where it begins.
  const Level last = grid.levels[steps - 1];
  const Tensor expected = gain(last).matmul(marginal(last)).matmul(gain(last).t());
  return ((found.covariance - expected).norm() / expected.norm()).item<double>();
}

}  // namespace

// The covariance comes nearer with the order of the method, from its own start: one more for UniPC
// than for its predictor, 2 for iPNDM and PNDM off equal steps of sigma/alpha, 1 for what draws
// noise but for the second-order SDE solver and for EDM, whose renewed noise each step has a share
// of.
TEST(Moments, OfACorrelatedGaussianConvergeWithTheOrder) {
  const struct {
    const char* sampler;
    SamplerOptions options;
    int order;
  } cases[] = {{"ddpm", {.variance_type = "fixed_small"}, 1},
               {"ddpm", {.variance_type = "fixed_large"}, 1},
               {"ddpm", {.variance_type = "learned_range"}, 1},
               {"ddim", {.eta = 1}, 1},
               {"ddim", {.eta = 0.5}, 1},
               {"euler_a", {}, 1},
               {"dpmpp_2m_sde", {}, 2},
               {"edm", {.s_churn = 20, .s_min = 0.02, .s_max = 50}, 2},
               {"ddim", {}, 1},
               {"euler", {}, 1},
               {"heun", {}, 2},
               {"dpm2", {}, 2},
               {"dpmpp_2m", {}, 2},
               {"dpmpp_2m", {.solver_type = "heun"}, 2},
               {"dpmpp_3m", {}, 3},
               {"unipc", {.order = 2}, 3},
               {"unipc", {.order = 3}, 4},
               {"unipc", {.order = 3, .solver_type = "bh1"}, 4},
               {"ipndm", {}, 2},
               {"pndm", {}, 2},
               {"deis", {.order = 2}, 2},
               {"deis", {.order = 3, .basis = "rho"}, 3}};
  // After 200 steps, by order: 1.2 times what the worst method of a simulation leaves.
  const double most[] = {0, 0.073, 4.4e-3, 2.2e-4, 5.3e-6};
  for (const auto& one : cases) {
    const double coarse = error(one.sampler, one.options, 100);
    const double fine = error(one.sampler, one.options, 200);
    SCOPED_TRACE(formatted("{} {}", one.sampler, to_json(one.options).dump()));
    EXPECT_NEAR(std::log2(coarse / fine), one.order, 0.2);
    EXPECT_LT(fine, most[one.order]);
  }
}

// One that is new to the list is held to the coarsest of these bounds before it has a row above.
TEST(Moments, OfEverySamplerOfTheListComeNear) {
  for (const SamplerInfo& info : samplers())
    EXPECT_LT(error(info.name, {}, 200), 0.073) << info.name;
}

}  // namespace tweedie

// How noisy the gradient of L_vlb is by the way t is drawn: what bench/gradient_noise measures on
// images, here on points and with a network that stands still.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tweedie/losses/loss.h"
#include "tweedie/losses/t_sampler.h"
#include "tweedie/nn/mlp.h"
#include "tweedie/process/mixture.h"

namespace tweedie {
namespace {

constexpr int64_t kBatch = 64, kBatches = 200;

ObjectiveOptions vlb(const std::string& t_sampler) {
  ObjectiveOptions options;
  options.loss = "vlb", options.t_sampler = t_sampler;
  return options;
}

Process unclipped() {
  ProcessOptions options;
  options.clip_sample = false;
  return Process(options);
}

Mlp small_network() {
  MlpOptions options;
  options.width = 32, options.depth = 2;
  return Mlp(options, 3);
}

class Setting {
 public:
  Setting() : process(unclipped()), loss_(vlb("uniform"), process, Decoder::kContinuous) {}

  // Of fresh points at t [N], [N].
  Tensor losses(const Tensor& t, uint64_t seed) {
    const GaussianMixture data{
        {1, 2}, at::tensor({-0.8, 0.3, 0.6, -0.4}).view({2, 2, 1, 1}), {0.02, 0.05}};
    const Tensor x0 = mixture_draw(data, t.size(0), Rng(seed, stream_of("points"))).to(at::kFloat);
    const Tensor eps = at::empty_like(x0);
    Rng(seed, stream_of("eps")).fill_normal(eps.data_ptr<float>(), eps.numel());
    const Tensor x_t = process.add_noise(x0, eps, t);
    return loss_(net->forward(x_t, t), {x0, eps, x_t, t});
  }

  const Process process;
  Mlp net = small_network();

 private:
  Loss loss_;
};

struct Gradients {
  Tensor mean;
  double noise;  // trace of the covariance of a batch's gradient
};

Gradients measure(Setting& setting, const TimestepSampler& sampler, uint64_t seed) {
  std::vector<Tensor> all;
  for (int64_t b = 0; b < kBatches; ++b) {
    Rng rng(seed, stream_of("t", b));
    const Tensor t = at::empty({kBatch}, at::kLong), weight = at::empty({kBatch}, at::kFloat);
    for (int64_t i = 0; i < kBatch; ++i) {
      const TimestepSampler::Drawn drawn = sampler.draw(i, kBatch, rng);
      t.data_ptr<int64_t>()[i] = drawn.t;
      weight.data_ptr<float>()[i] = static_cast<float>(drawn.weight);
    }
    setting.net->zero_grad();
    (setting.losses(t, stream_of("batch", seed, b)) * weight).mean().backward();
    std::vector<Tensor> parts;
    for (const Tensor& parameter : setting.net->parameters())
      parts.push_back(parameter.grad().flatten().to(at::kDouble));
    all.push_back(at::cat(parts));
  }
  const Tensor g = at::stack(all), mean = g.mean(0);
  return {mean, (g - mean).square().sum().item<double>() / double(kBatches - 1)};
}

}  // namespace

// IDDPM Eq. 18
TEST(GradientNoise, IsHalvedAtLeastByDrawingTByTheSizeOfTheLoss) {
  at::set_num_threads(1);
  Setting setting;
  const Schedule& schedule = setting.process.schedule();
  TimestepSampler uniform(vlb("uniform"), schedule), by_loss(vlb("loss_second_moment"), schedule);
  const Tensor every = at::arange(schedule.size());
  for (uint64_t i = 0; i < 10; ++i) {
    const at::NoGradGuard no_grad;
    by_loss.update(every, setting.losses(every, i));
  }
  const Gradients plain = measure(setting, uniform, 1), weighed = measure(setting, by_loss, 2);
  std::printf("trace of the gradient's covariance: uniform %.4g, by the loss %.4g, ratio %.2f\n",
              plain.noise, weighed.noise, plain.noise / weighed.noise);
  EXPECT_GT(plain.noise, 2 * weighed.noise);
  // Both estimate one gradient: three standard errors of the two means.
  const double apart = (plain.mean - weighed.mean).square().sum().item<double>();
  EXPECT_LT(apart, 9 * (plain.noise + weighed.noise) / double(kBatches));
  EXPECT_GT(weighed.mean.square().sum().item<double>(), weighed.noise / double(kBatches));
}

}  // namespace tweedie

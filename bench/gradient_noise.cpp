// How noisy the gradient of the variational bound is when t is drawn uniformly, and when it is
// drawn by the size of the loss (the question of IDDPM's Fig. 2).
//
//   usage: bench_gradient_noise [MODEL] [--data SPEC] [--batch N] [--batches N] [--json]
//
// The network stands still. For each way of drawing t, the gradients g of many batches give the
// trace of their covariance; both ways estimate one and the same mean gradient.
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>

#include "tweedie/data/loader.h"
#include "tweedie/losses/loss.h"
#include "tweedie/losses/t_sampler.h"
#include "tweedie/pipeline/model_folder.h"

namespace {

using namespace tweedie;

struct Setting {
  Model& model;
  const Process& process;
  const Loss& loss;
  Loader& loader;
};

using DrawT = std::function<TimestepSampler::Drawn(int64_t i, int64_t n, Rng& rng)>;

// The losses of a batch, each at its t, and what each counts for.
struct Losses {
  Tensor t, losses, weight;
};

Losses losses_of(const Setting& s, const DrawT& draw, Rng rng) {
  const Batch batch = s.loader.next();
  const int64_t n = batch.size();
  Tensor t = at::empty({n}, at::kLong), weight = at::empty({n}, at::kFloat);
  for (int64_t i = 0; i < n; ++i) {
    const auto drawn = draw(i, n, rng);
    t[i] = drawn.t, weight[i] = drawn.weight;
  }
  Tensor eps = at::empty_like(batch.images);
  rng.fill_normal(eps.data_ptr<float>(), eps.numel());
  const Tensor x_t = s.process.add_noise(batch.images, eps, t);
  const Tensor labels = s.model.conditional() ? batch.labels : Tensor();
  const Tensor output =
      s.model.net->forward(s.process.network_input(x_t, t), s.process.told(t), labels);
  return {t, s.loss(output, {batch.images, eps, x_t, t}), weight};
}

struct Gradients {
  double noise = 0;   // trace of the covariance of a batch's gradient
  double square = 0;  // |mean gradient|^2, unbiased
  double loss = 0;
};

Gradients measure(const Setting& s, const TimestepSampler& sampler, int64_t batches,
                  uint64_t seed) {
  const DrawT draw = [&](int64_t i, int64_t n, Rng& rng) { return sampler.draw(i, n, rng); };
  Tensor sum;
  double squares = 0, loss = 0;
  for (int64_t b = 0; b < batches; ++b) {
    s.model.net->zero_grad();
    const Losses l = losses_of(s, draw, Rng(seed, stream_of("noise", b)));
    const Tensor mean = (l.losses * l.weight).mean();
    mean.backward();
    std::vector<Tensor> parts;
    for (const Tensor& parameter : s.model.net->parameters())
      if (parameter.grad().defined()) parts.push_back(parameter.grad().flatten().to(at::kDouble));
    const Tensor g = at::cat(parts);
    sum = sum.defined() ? sum + g : g;
    squares += g.square().sum().item<double>();
    loss += mean.item<double>() / double(batches);
  }
  const double n = double(batches), of_sum = sum.square().sum().item<double>();
  Gradients out;
  out.noise = (squares - of_sum / n) / (n - 1);
  out.square = of_sum / (n * n) - out.noise / n;
  out.loss = loss;
  return out;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app("gradient noise of the variational bound, t uniform and by the size of the loss");
  std::string name = "fashion-hybrid", data = "fashion-mnist";
  int64_t batch = 64, batches = 64;
  bool json = false;
  app.add_option("model", name, "a model folder or a known name")->capture_default_str();
  app.add_option("--data", data, "training images")->capture_default_str();
  app.add_option("--batch", batch)->capture_default_str();
  app.add_option("--batches", batches, "gradients behind each figure")->capture_default_str();
  app.add_flag("--json", json, "one JSON object");
  CLI11_PARSE(app, argc, argv);

  Model model = load_model(find_model(name));
  const Process process(model.process_options());
  ObjectiveOptions vlb, importance;
  vlb.loss = importance.loss = "vlb";
  importance.t_sampler = "loss_second_moment";
  const Loss loss(vlb, process);
  LoaderOptions options;
  options.batch_size = batch;
  options.height = int(model.height), options.width = int(model.width);
  options.channels = int(model.options().in_channels);
  Loader loader(open_dataset({.spec = data}), options);
  const Setting setting{model, process, loss, loader};

  TimestepSampler by_loss(importance, process.schedule()), uniform(vlb, process.schedule());
  {
    const at::NoGradGuard no_grad;  // ten losses for every t first, in turn
    const int64_t T = process.schedule().size();
    int64_t turn = 0;
    const DrawT in_turn = [&](int64_t, int64_t, Rng&) {
      return TimestepSampler::Drawn{turn++ % T, 1};
    };
    while (turn < 10 * T) {
      const Losses l = losses_of(setting, in_turn, Rng(1, stream_of("history", turn)));
      by_loss.update(l.t, l.losses);
    }
  }
  const Gradients plain = measure(setting, uniform, batches, 2);
  const Gradients weighed = measure(setting, by_loss, batches, 3);
  const double ratio = plain.noise / weighed.noise;
  if (json) {
    std::puts(
        Json{{"model", model.name},
             {"batch", batch},
             {"batches", batches},
             {"uniform", {{"noise", plain.noise}, {"square", plain.square}, {"loss", plain.loss}}},
             {"loss_second_moment",
              {{"noise", weighed.noise}, {"square", weighed.square}, {"loss", weighed.loss}}},
             {"ratio", ratio}}
            .dump()
            .c_str());
    return 0;
  }
  fmt::print("{}: L_vlb, {} gradients of {} images each\n", model.name, batches, batch);
  fmt::print("{:<20} {:>12} {:>14} {:>10}\n", "t drawn", "noise", "|gradient|^2", "bits/dim");
  const std::pair<const char*, Gradients> rows[] = {{"uniform", plain},
                                                    {"loss_second_moment", weighed}};
  for (const auto& [way, g] : rows)
    fmt::print("{:<20} {:>12.4g} {:>14.4g} {:>10.3f}\n", way, g.noise, g.square, g.loss);
  fmt::print("uniform is {:.2f} times as noisy\n", ratio);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

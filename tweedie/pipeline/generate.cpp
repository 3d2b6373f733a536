#include "tweedie/pipeline/generate.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <charconv>
#include <chrono>

#include "tweedie/core/noise.h"
#include "tweedie/data/loader.h"

namespace tweedie {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int64_t class_index(const Model& model, const std::string& name) {
  if (!model.conditional())
    fail("--class {}: {} is unconditional: it has no classes", name, model.name);
  const bool has_null = model.card && model.card->null_class;
  std::vector<std::string> known;
  if (model.card)
    for (const std::string& word : model.card->classes) known.push_back(word);
  if (name == "none") {
    if (!has_null) fail("--class none: {} has no null class", model.name);
    return *model.card->null_class;
  }
  for (size_t i = 0; i < known.size(); ++i)
    if (known[i] == name) return static_cast<int64_t>(i);
  int64_t index = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
  const bool number = error == std::errc() && end == name.data() + name.size();
  if (model.class_count() == 0) {  // class_embed_type timestep: any number
    if (number && index >= 0) return index;
    fail("--class {}: {} takes a number from 0 on", name, model.name);
  }
  if (number && index >= 0 && index < model.class_count()) return index;
  if (has_null) known.push_back("none");
  const std::string range = formatted("0..{}", model.class_count() - 1);
  if (number) fail("--class {}: outside {} of {}", name, range, model.name);
  fail("--class: {} (or {})", unknown_message("class", name, known), range);
}

std::string class_name(const Model& model, int64_t index) {
  if (model.card && model.card->null_class == index) return "none";
  if (model.card && index < static_cast<int64_t>(model.card->classes.size()))
    return model.card->classes[index];
  return std::to_string(index);
}

void generate(Model& model, const GenerateRequest& request, const Plan& plan,
              const GenerateCallbacks& callbacks, const CancelToken& cancel) {
  const c10::InferenceMode guard;
  const at::Device device = model.net->parameters().front().device();
  const Process process(plan.process);
  const Grid grid = make_grid(process, plan.grid);
  const SamplerFn sample = find_sampler(plan.sampler).run;
  const auto start = Clock::now();
  int64_t calls = 0;
  const int64_t batches = (request.n + request.batch - 1) / request.batch;

  for (int64_t first = 0; first < request.n; first += request.batch) {
    const int64_t n = std::min(request.batch, request.n - first);
    std::unique_ptr<Noise> noise;
    if (request.noise_init.defined()) {
      noise = std::make_unique<ReplayedNoise>(
          request.noise_init.narrow(0, first, n),
          request.noise_steps.defined() ? request.noise_steps.narrow(1, first, n) : Tensor());
    } else {
      noise = std::make_unique<SeededNoise>(
          request.seed, first,
          std::vector<int64_t>{n, model.options().in_channels, model.height, model.width});
    }
    Tensor labels;
    if (!plan.classes.empty())
      labels = at::tensor(std::vector<int64_t>(plan.classes.begin() + first,
                                               plan.classes.begin() + first + n))
                   .to(device);
    const Denoiser denoise = process.denoiser(
        [&](const Tensor& x, const Tensor& t) { return model.net->forward(x, t, labels); });
    const auto on_step = [&](int64_t step, int64_t steps, const Tensor& x, const Tensor&) {
      if (callbacks.way) callbacks.way(first, step, steps, x.cpu());
      ++calls;
      if (callbacks.progress)
        callbacks.progress({.done = calls,
                            .total = batches * plan.steps,
                            .unit = "step",
                            .seconds = seconds_since(start),
                            .values = {{"image", static_cast<double>(first + n)}}});
      cancel.check();
    };
    const Tensor x_T = grid.init * noise->init().to(device);
    if (callbacks.way) callbacks.way(first, 0, plan.steps, x_T.cpu());
    cancel.check();
    RECORD_USER_SCOPE("tweedie::sampler");
    const Tensor x = sample(denoise, x_T, grid, plan.options, *noise, on_step);
    callbacks.images(first, x.cpu());
  }
}

std::vector<Image> generate(Model& model, const GenerateRequest& request,
                            const ProgressFn& progress, const CancelToken& cancel) {
  std::vector<Image> images;
  const auto keep = [&](int64_t, const Tensor& raw) {
    for (int64_t i = 0; i < raw.size(0); ++i) images.push_back(to_image(raw[i]));
  };
  generate(model, request, plan(model, request), {.images = keep, .way = {}, .progress = progress},
           cancel);
  return images;
}

double seconds_per_call(Model& model, int64_t batch) {
  const c10::InferenceMode guard;
  const auto options = at::TensorOptions().device(model.net->parameters().front().device());
  const Tensor x =
      at::zeros({batch, model.options().in_channels, model.height, model.width}, options);
  const Tensor t = at::full({batch}, 0, options.dtype(at::kLong));
  const Tensor labels =
      model.conditional() ? at::zeros({batch}, options.dtype(at::kLong)) : Tensor();
  model.net->forward(x, t, labels);
  const auto start = Clock::now();
  model.net->forward(x, t, labels).cpu();
  return seconds_since(start);
}

}  // namespace tweedie

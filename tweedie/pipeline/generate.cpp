#include "tweedie/pipeline/generate.h"

#include <ATen/record_function.h>
#include <torch/torch.h>

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

// The sampler whose scheduler class wrote the folder.
std::string sampler_of_class(const std::string& scheduler_class) {
  std::vector<std::string> known;
  for (const SamplerInfo& info : samplers()) {
    if (scheduler_class == info.scheduler) return info.name;
    known.push_back(info.name);
  }
  fail("the folder's scheduler is {}, which has no sampler here: say --sampler; known: {}",
       scheduler_class, fmt::join(known, ", "));
}

void check_noise(const GenerateRequest& request, const Model& model, int64_t draws) {
  if (request.noise_steps.defined() && !request.noise_init.defined())
    fail("[noise] 'steps' without 'init': the noise to begin with is missing");
  const std::vector<int64_t> wanted = {request.n, model.options().in_channels, model.height,
                                       model.width};
  const auto shape = [](const Tensor& t) { return fmt::format("[{}]", fmt::join(t.sizes(), ",")); };
  if (request.noise_init.defined() && request.noise_init.sizes() != wanted)
    fail("[noise] 'init' has the shape {}: expected [{}]", shape(request.noise_init),
         fmt::join(wanted, ","));
  if (!request.noise_steps.defined()) {
    if (request.noise_init.defined() && draws > 0)
      fail("[noise] 'steps' is missing: this run draws noise {} times on its way", draws);
    return;
  }
  if (request.noise_steps.dim() != 5 ||
      request.noise_steps.sizes().slice(1) != at::IntArrayRef(wanted))
    fail("[noise] 'steps' has the shape {}: expected [S,{}]", shape(request.noise_steps),
         fmt::join(wanted, ","));
  if (request.noise_steps.size(0) < draws)
    fail("[noise] 'steps' holds {} draws: this run needs {}", request.noise_steps.size(0), draws);
}

// A flag that would change nothing is a mistake.
void check_heeded(const SamplerInfo& sampler, const char* flag, const char* field, bool given) {
  if (!given || sampler.heeds(field)) return;
  std::vector<std::string> others;
  for (const SamplerInfo& info : samplers())
    if (info.heeds(field)) others.push_back(info.name);
  fail("{}: the sampler {} does not heed it; those that do: {}", flag, sampler.name,
       fmt::join(others, ", "));
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
  const std::string range = fmt::format("0..{}", model.class_count() - 1);
  if (number) fail("--class {}: outside {} of {}", name, range, model.name);
  fail("--class: {} (or {})", unknown_message("class", name, known), range);
}

std::string class_name(const Model& model, int64_t index) {
  if (model.card && model.card->null_class == index) return "none";
  if (model.card && index < static_cast<int64_t>(model.card->classes.size()))
    return model.card->classes[index];
  return std::to_string(index);
}

Plan plan(const Model& model, const GenerateRequest& request) {
  constexpr int64_t kMost = 100'000'000;  // their classes alone are most of a GB
  if (request.n < 1 || request.n > kMost) fail("--n {}: expected 1..{}", request.n, kMost);
  if (request.batch < 1) fail("--batch {}: expected at least 1", request.batch);
  Plan plan;
  plan.process = model.process_options();
  if (request.sampler) {
    plan.sampler = *request.sampler;
  } else if (model.card) {
    plan.sampler = model.card->sampler;
  } else {
    plan.sampler = sampler_of_class(model.scheduler_class);
  }
  const SamplerInfo& sampler = find_sampler(plan.sampler);
  const int64_t T = plan.process.num_train_timesteps;
  plan.recommended = model.card && !request.sampler && !request.steps;
  if (request.steps) {
    plan.steps = *request.steps;
  } else if (model.card && plan.sampler == model.card->sampler) {
    plan.steps = model.card->steps;
  } else {
    plan.steps = plan.sampler == "ddpm" ? T : std::min<int64_t>(50, T);
  }
  if (plan.steps < 1 || plan.steps > T)
    fail("--steps {}: outside 1..{}, what the model was trained with", plan.steps, T);
  if (request.eta) plan.options.eta = *request.eta;
  if (request.spacing) plan.process.timestep_spacing = *request.spacing;
  if (request.steps_offset) plan.process.steps_offset = *request.steps_offset;
  if (request.variance_type) plan.process.variance_type = *request.variance_type;
  if (request.steps_offset && plan.process.timestep_spacing != "leading")
    fail("--steps-offset {}: added to leading timesteps, and the spacing is {}",
         *request.steps_offset, plan.process.timestep_spacing);
  if (request.clip_sample) plan.process.clip_sample = *request.clip_sample;
  if (request.clip_sample == false) plan.process.thresholding = false;
  plan.options.rederive_eps = request.rederive_eps.value_or(false);
  from_json(to_json(plan.options), plan.options);  // the rules of the fields
  from_json(to_json(plan.process), plan.process);
  check_heeded(sampler, "--eta", "eta", request.eta.has_value());
  check_heeded(sampler, "--clip-eps", "rederive_eps", request.rederive_eps.has_value());
  check_heeded(sampler, "--variance", "variance_type", request.variance_type.has_value());
  plan.options.variance_type = plan.process.variance_type;
  const std::vector<Level> levels = Process(plan.process).levels(plan.steps);
  const SamplerCost cost = cost_of(sampler, levels, plan.options);
  plan.nfe = cost.calls;
  check_noise(request, model, cost.draws);

  plan.classes = request.classes;
  if (!plan.classes.empty() && !model.conditional())
    fail("--class: {} is unconditional: it has no classes", model.name);
  if (plan.classes.size() == 1) plan.classes.assign(request.n, plan.classes.front());
  if (!plan.classes.empty() && static_cast<int64_t>(plan.classes.size()) != request.n)
    fail("--class: {} entries for {} images: give one for all, or exactly {}", plan.classes.size(),
         request.n, request.n);
  if (model.options().class_embed_type == "identity")
    fail("{} takes vectors in place of classes (class_embed_type is identity): not to be had here",
         model.name);
  if (plan.classes.empty() && model.conditional() && model.class_count() == 0)
    fail("--class is needed: {} takes classes and does not say which", model.name);
  if (plan.classes.empty() && model.conditional()) {
    for (int64_t i = 0; i < request.n; ++i) plan.classes.push_back(i % model.class_count());
    plan.notes.push_back(fmt::format("classes 0..{} in turn by image index (--class picks one)",
                                     model.class_count() - 1));
  }
  const std::string advice = tweedie::advice(plan.sampler, levels, plan.options);
  if (!advice.empty()) plan.notes.push_back(advice);
  return plan;
}

void generate(Model& model, const GenerateRequest& request, const Plan& plan,
              const GenerateCallbacks& callbacks, const CancelToken& cancel) {
  const c10::InferenceMode guard;
  const torch::Device device = model.net->parameters().front().device();
  const Process process(plan.process);
  const std::vector<Level> levels = process.levels(plan.steps);
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
      labels = torch::tensor(std::vector<int64_t>(plan.classes.begin() + first,
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
    const Tensor x_T = noise->init().to(device);
    if (callbacks.way) callbacks.way(first, 0, plan.steps, x_T.cpu());
    cancel.check();
    RECORD_USER_SCOPE("tweedie::sampler");
    const Tensor x = sample(denoise, x_T, levels, plan.options, *noise, on_step);
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
  const auto options = torch::TensorOptions().device(model.net->parameters().front().device());
  const Tensor x =
      torch::zeros({batch, model.options().in_channels, model.height, model.width}, options);
  const Tensor t = torch::full({batch}, 0, options.dtype(torch::kLong));
  const Tensor labels =
      model.conditional() ? torch::zeros({batch}, options.dtype(torch::kLong)) : Tensor();
  model.net->forward(x, t, labels);
  const auto start = Clock::now();
  model.net->forward(x, t, labels).cpu();
  return seconds_since(start);
}

}  // namespace tweedie

// Decides and checks a request before any work.
#include <algorithm>

#include "tweedie/pipeline/generate.h"
#include "tweedie/process/timesteps.h"
#include "tweedie/samplers/scheduler.h"

namespace tweedie {
namespace {

void check_noise(const GenerateRequest& request, const Model& model, int64_t draws) {
  if (request.noise_steps.defined() && !request.noise_init.defined())
    fail("[noise] 'steps' without 'init': the noise to begin with is missing");
  const std::vector<int64_t> wanted = {request.n, model.options().in_channels, model.height,
                                       model.width};
  const auto shape = [](const Tensor& t) { return formatted("[{}]", fmt::join(t.sizes(), ",")); };
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

// Sets `field` of the sampler's options where the request has a value for it.
template <class Value, class Field>
void override_field(const SamplerInfo& sampler, const char* flag, const char* name,
                    const std::optional<Value>& given, Field& field) {
  check_heeded(sampler, flag, name, given.has_value());
  if (given) field = *given;
}

void check_order(const GenerateRequest& request, const SamplerInfo& sampler) {
  if (!request.order || !sampler.heeds("order")) return;
  const int64_t most = std::string_view(sampler.name) == "ipndm" ? 4 : 3;
  if (*request.order < 1 || *request.order > most)
    fail("--order {}: outside 1..{}, what {} has", *request.order, most, sampler.name);
}

void check_solver_type(const GenerateRequest& request, const SamplerInfo& sampler) {
  if (!request.solver_type || !sampler.heeds("solver_type")) return;
  const bool unipc = std::string_view(sampler.name) == "unipc";
  const std::vector<std::string> known =
      unipc ? std::vector<std::string>{"bh1", "bh2"} : std::vector<std::string>{"midpoint", "heun"};
  if (std::find(known.begin(), known.end(), *request.solver_type) == known.end())
    fail_unknown(formatted("--solver-type of {}", sampler.name), *request.solver_type, known);
}

// A learned variance is half of the network's channels.
void check_variance(const Model& model, const GenerateRequest& request, const SamplerInfo& sampler,
                    const std::string& type) {
  if (!sampler.heeds("variance_type") || !type.starts_with("learned")) return;
  if (model.options().out_channels == 2 * model.options().in_channels) return;
  std::vector<std::string> others = variance_types();
  std::erase_if(others, [](const std::string& name) { return name.starts_with("learned"); });
  fail("{} {}: the network of {} has no learned variance; without one: {}",
       request.variance_type ? "--variance" : "variance_type", type, model.name,
       fmt::join(others, ", "));
}

SamplerOptions options_for(const GenerateRequest& request, const SamplerInfo& sampler,
                           SamplerOptions options) {
  check_order(request, sampler);
  check_solver_type(request, sampler);
  override_field(sampler, "--eta", "eta", request.eta, options.eta);
  override_field(sampler, "--clip-eps", "rederive_eps", request.rederive_eps, options.rederive_eps);
  override_field(sampler, "--variance", "variance_type", request.variance_type,
                 options.variance_type);
  override_field(sampler, "--order", "order", request.order, options.order);
  override_field(sampler, "--solver-type", "solver_type", request.solver_type, options.solver_type);
  override_field(sampler, "--no-corrector", "corrector", request.corrector, options.corrector);
  override_field(sampler, "--basis", "basis", request.basis, options.basis);
  override_field(sampler, "--s-churn", "s_churn", request.s_churn, options.s_churn);
  override_field(sampler, "--s-min", "s_min", request.s_min, options.s_min);
  override_field(sampler, "--s-max", "s_max", request.s_max, options.s_max);
  override_field(sampler, "--s-noise", "s_noise", request.s_noise, options.s_noise);
  from_json(to_json(options), options);  // the rules of the fields
  if (options.s_min > options.s_max)
    fail("--s-min {} is above --s-max {}: no noise would be renewed", options.s_min, options.s_max);
  if (options.diffusers() && options.basis != "log_rho" && request.basis)
    fail("--basis {}: diffusers' DEIS has log_rho alone", options.basis);
  return options;
}

ProcessOptions process_for(const GenerateRequest& request, ProcessOptions process) {
  if (request.variance_type) process.variance_type = *request.variance_type;
  if (request.clip_sample) process.clip_sample = *request.clip_sample;
  if (request.clip_sample) process.thresholding = false;
  if (request.dynamic_threshold) {
    if (request.clip_sample)
      fail("--dynamic-threshold {}: stands in place of --clip and --no-clip",
           *request.dynamic_threshold);
    if (!(*request.dynamic_threshold > 0 && *request.dynamic_threshold <= 1))
      fail("--dynamic-threshold {}: expected 0 < p <= 1", *request.dynamic_threshold);
    process.thresholding = true;
    process.dynamic_thresholding_ratio = *request.dynamic_threshold;
    process.sample_max_value = 1e6;  // the paper has no most
  }
  from_json(to_json(process), process);
  return process;
}

void decide_bound(const char* flag, std::optional<double> asked, const GridOptions& grid,
                  double& bound) {
  if (!asked) return;
  if (!between_timesteps(grid.spacing) || !grid.timesteps.empty())
    fail("{} {}: bounds the spacings karras, exponential and log_snr, and the spacing is {}", flag,
         *asked, grid.timesteps.empty() ? grid.spacing : "a list");
  if (!grid.scheduler.empty())
    fail("{} {}: {} has no such bound with --scheduler-rules diffusers", flag, *asked,
         grid.scheduler);
  if (!(*asked > 0)) fail("{} {}: expected more than 0", flag, *asked);
  if (grid.steps == 1)
    fail("{} {}: bounds the levels after the first, and there is 1 step", flag, *asked);
  bound = *asked;
}

GridOptions grid_for(const GenerateRequest& request, const Plan& plan, GridOptions grid) {
  grid.steps = plan.steps;
  grid.timesteps = request.timesteps;
  if (request.spacing) grid.spacing = *request.spacing;
  if (request.spacing && !request.timesteps.empty())
    fail("--timesteps: stands in place of a spacing, and --spacing is {}", *request.spacing);
  if (request.steps_offset) grid.offset = *request.steps_offset;
  if (request.steps_offset && (grid.spacing != "leading" || !request.timesteps.empty()))
    fail("--steps-offset {}: added to leading timesteps, and the spacing is {}",
         *request.steps_offset, request.timesteps.empty() ? grid.spacing : "a list");
  if (request.steps_offset && *request.steps_offset < 0)
    fail("--steps-offset {}: expected 0 or more", *request.steps_offset);
  if (request.rho && grid.spacing != "karras")
    fail("--rho {}: bends the spacing karras, and the spacing is {}", *request.rho, grid.spacing);
  if (request.rho) grid.rho = *request.rho;
  decide_bound("--sigma-max", request.sigma_max, grid, grid.sigma_max);
  decide_bound("--sigma-min", request.sigma_min, grid, grid.sigma_min);
  return grid;
}

// How many steps, and whether the folder recommends them.
void decide_steps(const Model& model, const GenerateRequest& request, Plan& plan) {
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
}

void decide_classes(const Model& model, const GenerateRequest& request, Plan& plan) {
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
  if (!plan.classes.empty() || !model.conditional()) return;
  for (int64_t i = 0; i < request.n; ++i) plan.classes.push_back(i % model.class_count());
  plan.notes.push_back(formatted("classes 0..{} in turn by image index (--class picks one)",
                                 model.class_count() - 1));
}

// Which levels are visited: the grid as asked for, where the number of steps does not say it.
void describe_grid(const Plan& plan, Json& json) {
  const GridOptions& grid = plan.grid;
  if (!grid.timesteps.empty()) {
    json["timesteps"] = grid.timesteps;
    return;
  }
  json["spacing"] = grid.spacing;
  if (grid.spacing == "leading") json["steps_offset"] = grid.offset;
  if (grid.spacing == "karras") json["rho"] = grid.rho;
  if (grid.sigma_max) json["sigma_max"] = grid.sigma_max;
  if (grid.sigma_min) json["sigma_min"] = grid.sigma_min;
  if (grid.spacing == "quadratic") json["steps_before_merging"] = grid.steps;
}

// What becomes of the believed x_0.
void describe_clipping(const ProcessOptions& process, Json& json) {
  json["clip"] = process.clip_sample && !process.thresholding;
  if (process.thresholding) {
    json["dynamic_threshold"] = process.dynamic_thresholding_ratio;
    json["sample_max_value"] = process.sample_max_value;
  } else if (process.clip_sample) {
    json["clip_sample_range"] = process.clip_sample_range;
  }
}

}  // namespace

Plan plan(const Model& model, const GenerateRequest& request) {
  constexpr int64_t kMost = 100'000'000;  // their classes alone are most of a GB
  if (request.n < 1 || request.n > kMost) fail("--n {}: expected 1..{}", request.n, kMost);
  if (request.batch < 1) fail("--batch {}: expected at least 1", request.batch);
  Plan plan;
  plan.sampler = request.sampler ? *request.sampler
                 : model.card    ? model.card->sampler
                                 : sampler_of(model.scheduler);
  const SamplerInfo& sampler = find_sampler(plan.sampler);
  const SchedulerSetup setup = scheduler_setup(model.scheduler, sampler, request.rules);
  plan.process = process_for(request, setup.process);
  plan.options = options_for(request, sampler, setup.options);
  plan.options.variance_type = plan.process.variance_type;
  check_variance(model, request, sampler, plan.options.variance_type);
  decide_steps(model, request, plan);
  plan.grid = grid_for(request, plan, setup.grid);

  const Grid grid = make_grid(Process(plan.process), plan.grid);
  if (request.steps && grid.steps() != plan.steps && plan.grid.spacing != "quadratic")
    fail("--steps {}: the list of timesteps has {}", plan.steps, grid.steps());
  plan.steps = grid.steps();
  const SamplerCost cost = cost_of(sampler, grid, plan.options);
  plan.nfe = cost.calls;
  check_noise(request, model, cost.draws);
  decide_classes(model, request, plan);
  const std::string advice =
      tweedie::advice(plan.sampler, plan.steps, plan.process.num_train_timesteps, plan.options);
  if (!advice.empty()) plan.notes.push_back(advice);
  return plan;
}

Json description_of(const Plan& plan) {
  Json json = {{"sampler", plan.sampler}, {"steps", plan.steps}, {"nfe", plan.nfe}};
  json["scheduler_rules"] = plan.options.rules;
  describe_grid(plan, json);
  describe_clipping(plan.process, json);
  const SamplerInfo& sampler = find_sampler(plan.sampler);
  const Json options = to_json(plan.options);
  for (const auto& [name, value] : options.items())
    if (sampler.heeds(name) && !value.is_null()) json[name] = value;
  return json;
}

}  // namespace tweedie

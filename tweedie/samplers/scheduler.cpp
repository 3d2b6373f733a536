#include "tweedie/samplers/scheduler.h"

#include <algorithm>

#include "tweedie/process/config_json.h"

namespace tweedie {
namespace {

// What diffusers 0.42.1's classes differ in.
struct Traits {
  const char* scheduler;
  const char* spacing;                     // default of timestep_spacing
  bool clips = false, thresholds = false;  // whether it has those keys
  bool clip_sample = false;                // default
  bool sigma_grids = false;                // has use_karras_sigmas and the like
  bool zero_snr = false;                   // has rescale_betas_zero_snr
};
constexpr Traits kTraits[] = {
    {"", "linspace", true, true, false, true, true},
    {"DDPMScheduler", "leading", true, true, true, false, true},
    {"DDIMScheduler", "leading", true, true, true, false, true},
    {"PNDMScheduler", "leading"},
    {"IPNDMScheduler", "leading"},
    {"EulerDiscreteScheduler", "linspace", false, false, false, true, true},
    {"EulerAncestralDiscreteScheduler", "linspace", false, false, false, false, true},
    {"HeunDiscreteScheduler", "linspace", true, false, false, true},
    {"KDPM2DiscreteScheduler", "linspace", false, false, false, true},
    {"DPMSolverMultistepScheduler", "linspace", false, true, false, true, true},
    {"UniPCMultistepScheduler", "linspace", false, true, false, true, true},
    {"DEISMultistepScheduler", "linspace", false, true, false, true}};

const Traits& traits_of(const char* scheduler) {
  for (const Traits& traits : kTraits)
    if (std::string_view(traits.scheduler) == scheduler) return traits;
  fail("[samplers] {}: not a scheduler of the table", scheduler);
}

bool flag(const Json& config, const char* key) {
  bool value = false;
  if (config.contains(key) && !config[key].is_null()) from_json(config[key], value, key);
  return value;
}

std::string word(const Json& config, const char* key, const char* absent) {
  std::string value = absent;
  if (config.contains(key) && !config[key].is_null()) from_json(config[key], value, key);
  return value;
}

std::string class_of(const Json& config) { return word(config, "_class_name", "DDPMScheduler"); }

// Values of keys that change the method and are not to be had here.
void check_supported(const Json& config, const SamplerInfo& sampler) {
  const bool edm = class_of(config).starts_with("EDM");  // there sigma_min is the path's
  struct Needed {
    const char* key;
    Json value;
    const char* whose;
  };
  const char* grids = " euler heun dpm2 dpmpp_2m dpmpp_3m dpmpp_2m_sde unipc deis edm ";
  const char* dpm = " dpmpp_2m dpmpp_3m dpmpp_2m_sde ";
  const Needed all[] = {{"use_beta_sigmas", false, grids},
                        {"use_flow_sigmas", false, grids},
                        {"use_dynamic_shifting", false, grids},
                        {"euler_at_final", false, dpm},
                        {"lambda_min_clipped", nullptr, dpm},
                        {"predict_x0", true, " unipc "},
                        {"solver_p", nullptr, " unipc "},
                        {"shift_terminal", nullptr, " unipc "},
                        {"disable_corrector", Json::array(), " unipc "},
                        {"sigma_min", nullptr, " euler unipc "},
                        {"sigma_max", nullptr, " euler unipc "},
                        {"timestep_type", "discrete", " euler "},
                        {"interpolation_type", "linear", " euler "},
                        {"skip_prk_steps", false, " pndm "}};
  for (const Needed& needed : all) {
    if (!config.contains(needed.key) || config[needed.key].is_null()) continue;
    if (edm && std::string_view(needed.key).starts_with("sigma_m")) continue;
    const bool asked = std::string_view(needed.whose).find(formatted(" {} ", sampler.name)) !=
                       std::string_view::npos;
    if (asked && config[needed.key] != needed.value)
      fail("{} is {}: the sampler {} follows only {}", needed.key, config[needed.key].dump(),
           sampler.name, needed.value.dump());
  }
}

ProcessOptions process_of(const Json& config, const SamplerInfo& sampler, bool theirs) {
  const Traits& traits = traits_of(sampler.scheduler);
  const std::string_view name = sampler.name;
  ProcessOptions process = process_options_from_json(config);
  if (!config.contains("timestep_spacing"))
    process.timestep_spacing = process.path == "flow" ? "trailing" : traits.spacing;
  if (!config.contains("clip_sample")) process.clip_sample = traits.clip_sample;
  if (name == "heun" || name == "dpm2") {
    if (!config.contains("beta_start")) process.beta_start = 0.00085;
    if (!config.contains("beta_end")) process.beta_end = 0.012;
  }
  const bool chain = name == "ddim" || name == "pndm";  // theirs is the key set_alpha_to_one
  if (chain && !config.contains("set_alpha_to_one"))
    process.set_alpha_to_one = !(theirs && name == "pndm");
  else if (!chain)
    process.set_alpha_to_one =
        !traits.sigma_grids || word(config, "final_sigmas_type", "zero") != "sigma_min";
  if (!theirs) return process;

  process.clip_sample = process.clip_sample && traits.clips;
  process.thresholding = process.thresholding && traits.thresholds;
  process.rescale_betas_zero_snr = process.rescale_betas_zero_snr && traits.zero_snr;
  if (name == "ipndm") process.prediction_type = "v_prediction";  // whatever the folder says
  return process;
}

GridOptions grid_of(const Json& config, const SamplerInfo& sampler, const ProcessOptions& process) {
  GridOptions grid;
  grid.spacing = grid.list = process.timestep_spacing;
  grid.offset = process.steps_offset;
  if (process.path == "edm") grid.spacing = "karras";  // EDM Eq. 5
  if (!traits_of(sampler.scheduler).sigma_grids) return grid;
  if (flag(config, "use_karras_sigmas")) grid.spacing = "karras";
  if (flag(config, "use_exponential_sigmas")) grid.spacing = "exponential";
  if (flag(config, "use_lu_lambdas")) grid.spacing = "log_snr";
  return grid;
}

SamplerOptions options_of(const Json& config, const SamplerInfo& sampler, bool theirs) {
  SamplerOptions options;
  const std::string type = word(config, "solver_type", "");
  const bool bh = type == "bh1" || type == "bh2", dpm = type == "midpoint" || type == "heun";
  const bool unipc = std::string_view(sampler.name) == "unipc";
  if (sampler.heeds("solver_type") && (unipc ? bh : dpm)) options.solver_type = type;
  const bool own = std::string_view(sampler.scheduler) != "IPNDMScheduler";
  if (sampler.heeds("order") && own && config.contains("solver_order"))
    from_json(config["solver_order"], options.order, "solver_order");
  if (config.contains("lower_order_final") && sampler.heeds("lower_order_final"))
    options.lower_order_final = flag(config, "lower_order_final");
  if (theirs || type == "logrho") options.basis = "log_rho";
  return options;
}

}  // namespace

std::string sampler_of(const Json& config) {
  const std::string scheduler = class_of(config);
  if (scheduler == "EDMEulerScheduler" || scheduler == "FlowMatchEulerDiscreteScheduler")
    return "euler";
  if (scheduler == "DPMSolverMultistepScheduler") {
    const std::string type = word(config, "algorithm_type", "dpmsolver++");
    int64_t order = 2;
    if (config.contains("solver_order")) from_json(config["solver_order"], order, "solver_order");
    if (type == "dpmsolver++" && order == 2) return "dpmpp_2m";
    if (type == "dpmsolver++" && order == 3) return "dpmpp_3m";
    if (type == "sde-dpmsolver++" && order == 2) return "dpmpp_2m_sde";
    fail(
        "the folder's {} with algorithm_type {} of solver_order {} has no sampler here: say "
        "--sampler; known: {}",
        scheduler, type, order, fmt::join(sampler_names(), ", "));
  }
  for (const SamplerInfo& info : samplers())
    if (scheduler == info.scheduler) return info.name;
  fail("the folder's scheduler is {}, which has no sampler here: say --sampler; known: {}",
       scheduler, fmt::join(sampler_names(), ", "));
}

SchedulerSetup scheduler_setup(const Json& config, const SamplerInfo& sampler,
                               const std::string& rules) {
  if (rules != "paper" && rules != "diffusers")
    fail_unknown("scheduler rules", rules, {"paper", "diffusers"});
  const bool theirs = rules == "diffusers";
  if (theirs && *sampler.scheduler == '\0')
    fail("--scheduler-rules diffusers: diffusers has no scheduler like {}", sampler.name);
  if (theirs && std::string_view(sampler.name) == "ipndm" && config.contains("trained_betas") &&
      !config["trained_betas"].is_null())
    fail(
        "trained_betas: IPNDMScheduler takes them for its sigmas, which no network is trained for");
  check_supported(config, sampler);
  SchedulerSetup setup;
  setup.process = process_of(config, sampler, theirs);
  if (theirs && setup.process.path != "vp")
    fail("--scheduler-rules diffusers: those of {} are for the vp path, and the model's is {}",
         sampler.scheduler, setup.process.path);
  setup.grid = grid_of(config, sampler, setup.process);
  setup.options = options_of(config, sampler, theirs);
  setup.options.rules = rules;
  setup.options.variance_type = setup.process.variance_type;
  setup.options.prediction_type = setup.process.prediction_type;
  if (theirs) setup.grid.scheduler = sampler.scheduler;
  return setup;
}

}  // namespace tweedie

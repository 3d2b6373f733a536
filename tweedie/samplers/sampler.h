// From noise to image: what every sampler takes, and the list of them.
//
//   const Grid grid = make_grid(process, {.steps = 10});
//   Tensor x = unipc(denoise, grid.init * noise.init(), grid, {.order = 3}, noise, on_step);
//
// Papers: docs/papers.json.
#pragma once
#include <functional>

#include "tweedie/core/noise.h"
#include "tweedie/core/options.h"
#include "tweedie/process/grid.h"
#include "tweedie/process/options.h"

namespace tweedie {

/// What a sampler saw at one level.
struct Evaluation {
  Level at;
  Tensor x0;   ///< what was believed, clipped if the process clips
  Tensor eps;  ///< the noise that x0 implies: (x - alpha x0)/sigma
};

struct SamplerOptions {
  double eta = 0;
  std::string variance_type = "fixed_small";
  bool rederive_eps = false;
  std::optional<int64_t> order = {};
  std::optional<std::string> solver_type = {};
  bool corrector = true;
  bool lower_order_final = true;
  std::string basis = "t";
  double s_churn = 0, s_min = 0, s_max = 1e6, s_noise = 1;
  std::string rules = "paper";

  // Set by the program alone:
  std::string prediction_type = "epsilon";  ///< of the network; diffusers' PNDM asks
  /// What a multistep method is to have seen before the first level, newest first: an exact start.
  std::vector<Evaluation> history = {};

  bool diffusers() const { return rules == "diffusers"; }

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("eta", self.eta, "ddim: 0 is the deterministic ODE, 1 the ancestral chain",
          between(0, 1));
    field("variance_type", self.variance_type, "ddpm: variance of a step",
          one_of(variance_types()));
    field("rederive_eps", self.rederive_eps,
          "ddim: take eps from the clipped x_0 (OpenAI's way), not from the network (diffusers')");
    field("order", self.order, "unipc, deis 1..3; ipndm 1..4", between(1, 4));
    field("solver_type", self.solver_type, "unipc: bh1, bh2; dpmpp: midpoint, heun (exact)",
          one_of({"bh1", "bh2", "midpoint", "heun"}));
    field("corrector", self.corrector, "unipc: correct each step with the next one's estimate");
    field("lower_order_final", self.lower_order_final,
          "dpmpp, unipc, deis: let the order fall at the end of a run of fewer than 15 steps");
    field("basis", self.basis, "deis: what the noise is a polynomial of",
          one_of({"t", "rho", "log_rho"}));
    field("s_churn", self.s_churn, "edm: how much noise is renewed, over all steps", at_least(0));
    field("s_min", self.s_min, "edm: none below this sigma/alpha", at_least(0));
    field("s_max", self.s_max, "edm: none above this sigma/alpha", at_least(0));
    field("s_noise", self.s_noise, "edm: scale of the renewed noise", at_least(0));
    field("rules", self.rules, "the papers', or diffusers' where it differs (docs/samplers.md)",
          one_of({"paper", "diffusers"}));
  }
};

/// After each step: how many of `total` are done (1, 2, ...), x as it now is and the x_0 that was
/// believed. May throw, to cancel.
using StepFn = std::function<void(int64_t step, int64_t total, const Tensor& x, const Tensor& x0)>;

/// Walks x [N,C,H,W] from the first level of `grid` to the last and returns it, on x's device and
/// of its type; x is grid.init times standard normal noise. Noise is drawn in the order that the
/// sampler's file says. Call under NoGrad or inference mode. Throws Error naming the step where x
/// is no longer finite, and for a grid without the path that the sampler needs.
using SamplerFn = Tensor (*)(const Denoiser& denoise, Tensor x, const Grid& grid,
                             const SamplerOptions& options, Noise& noise, const StepFn& on_step);

struct SamplerInfo {
  const char* name;
  SamplerFn run;
  const char* scheduler;  ///< diffusers' class of the same method, or ""
  const char* reads;      ///< the fields of SamplerOptions that it heeds, a space between
  const char* about;      ///< one line with its source

  bool heeds(std::string_view field) const;
};
/// In the order of samplers.inc.
const std::vector<SamplerInfo>& samplers();
std::vector<std::string> sampler_names();
/// Throws Error that names the known ones.
const SamplerInfo& find_sampler(const std::string& name);

/// What a run along a grid takes for a batch.
struct SamplerCost {
  int64_t calls = 0;  ///< of the denoiser
  int64_t draws = 0;  ///< of noise, the first x not counted
};
/// Counted, by running the sampler on one pixel.
SamplerCost cost_of(const SamplerInfo& sampler, const Grid& grid, const SamplerOptions& options);

/// One line on what is unwise about running this sampler in so many of a process's T steps; "" if
/// nothing is.
std::string advice(const std::string& sampler, int64_t steps, int64_t T,
                   const SamplerOptions& options);

/// Throws Error unless x is finite, naming the sampler and the step (1, 2, ...) that went to it.
void require_finite(const Tensor& x, const char* sampler, int64_t step, const Level& at);

#define SAMPLER(name, scheduler, reads, about)                                                    \
  Tensor name(const Denoiser& denoise, Tensor x, const Grid& grid, const SamplerOptions& options, \
              Noise& noise, const StepFn& on_step = {});
#include "tweedie/samplers/samplers.inc"
#undef SAMPLER

}  // namespace tweedie

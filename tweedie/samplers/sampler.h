// From noise to image: what every sampler takes, and the list of them.
//
//   Tensor x = ddim(denoise, noise.init(), process.levels(50), {.eta = 0}, noise, on_step);
#pragma once
#include <functional>

#include "tweedie/core/noise.h"
#include "tweedie/core/options.h"
#include "tweedie/process/denoiser.h"
#include "tweedie/process/options.h"

namespace tweedie {

struct SamplerOptions {
  double eta = 0;
  std::string variance_type = "fixed_small";
  bool rederive_eps = false;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("eta", self.eta, "ddim: 0 is the deterministic ODE, 1 the ancestral chain",
          between(0, 1));
    field("variance_type", self.variance_type, "ddpm: variance of a step",
          one_of(variance_types()));
    field("rederive_eps", self.rederive_eps,
          "ddim: take eps from the clipped x_0 (OpenAI's way), not from the network (diffusers')");
  }
};

/// After each step: how many of `total` are done (1, 2, ...), x as it now is and the x_0 that was
/// believed. May throw, to cancel.
using StepFn = std::function<void(int64_t step, int64_t total, const Tensor& x, const Tensor& x0)>;

/// Walks x [N,C,H,W] from the first of `levels` to the last and returns it, on x's device and of
/// its type. Each step goes from an entry to the one after it. Noise is drawn in the order that the
/// sampler's file says. Call under NoGrad or inference mode. Throws Error naming the step where x
/// is no longer finite.
using SamplerFn = Tensor (*)(const Denoiser& denoise, Tensor x, const std::vector<Level>& levels,
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
/// Throws Error that names the known ones.
const SamplerInfo& find_sampler(const std::string& name);

/// What a run along `levels` takes for a batch.
struct SamplerCost {
  int64_t calls = 0;  ///< of the denoiser
  int64_t draws = 0;  ///< of noise, the first x not counted
};
/// Counted, by running the sampler on one pixel.
SamplerCost cost_of(const SamplerInfo& sampler, const std::vector<Level>& levels,
                    const SamplerOptions& options);

/// One line on what is unwise about running this sampler along these levels; "" if nothing is.
std::string advice(const std::string& sampler, const std::vector<Level>& levels,
                   const SamplerOptions& options);

/// Throws Error unless x is finite, naming the sampler and the step (1, 2, ...) that went to it.
void require_finite(const Tensor& x, const char* sampler, int64_t step, const Level& at);

#define SAMPLER(name, scheduler, reads, about)                                     \
  Tensor name(const Denoiser& denoise, Tensor x, const std::vector<Level>& levels, \
              const SamplerOptions& options, Noise& noise, const StepFn& on_step = {});
#include "tweedie/samplers/samplers.inc"
#undef SAMPLER

}  // namespace tweedie

#include "tweedie/samplers/sampler.h"

#include <ATen/ATen.h>

namespace tweedie {

const std::vector<SamplerInfo>& samplers() {
  static const std::vector<SamplerInfo> list = {
#define SAMPLER(name, scheduler, reads, about) {#name, name, scheduler, reads, about},
#include "tweedie/samplers/samplers.inc"
#undef SAMPLER
  };
  return list;
}

bool SamplerInfo::heeds(std::string_view field) const {
  return formatted(" {} ", reads).find(formatted(" {} ", field)) != std::string::npos;
}

SamplerCost cost_of(const SamplerInfo& sampler, const Grid& grid, const SamplerOptions& options) {
  struct Counted : Noise {
    Tensor init() override { return at::zeros({1, 1, 1, 1}); }
    Tensor draw() override { return ++draws, init(); }
    int64_t draws = 0;
  } noise;
  SamplerCost cost;
  const Denoiser denoise = [&](const Tensor& x, const Level&) {
    ++cost.calls;
    return Estimate{x, x, at::zeros_like(x)};
  };
  sampler.run(denoise, noise.init(), grid, options, noise, {});
  cost.draws = noise.draws;
  return cost;
}

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const SamplerInfo& info : samplers()) names.push_back(info.name);
  return names;
}

const SamplerInfo& find_sampler(const std::string& name) {
  for (const SamplerInfo& info : samplers())
    if (name == info.name) return info;
  fail_unknown("sampler", name, sampler_names());
}

std::string advice(const std::string& sampler, int64_t steps, int64_t T,
                   const SamplerOptions& options) {
  const bool large =
      options.variance_type == "fixed_large" || options.variance_type == "fixed_large_log";
  if (sampler == "ddpm" && large && steps < T)
    return formatted(
        "ddpm with {} over {} steps adds too much noise: it is meant for the full "
        "chain; fixed_small or ddim suit fewer steps",
        options.variance_type, steps);
  return "";
}

void require_finite(const Tensor& x, const char* sampler, int64_t step, const Level& at) {
  if (!x.isfinite().all().item<bool>())
    fail("[{}] the images are not finite (NaN or Inf) after step {}, t = {}", sampler, step, at.t);
}

}  // namespace tweedie

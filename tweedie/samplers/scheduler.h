// What a sampler makes of diffusers' scheduler_config.json.
#pragma once
#include "tweedie/samplers/sampler.h"

namespace tweedie {

/// All that a run needs beside the network and the number of steps.
struct SchedulerSetup {
  ProcessOptions process;
  SamplerOptions options;
  GridOptions grid;
};

/// The sampler of the class that wrote the config. Throws Error (user) for a class without one.
std::string sampler_of(const Json& scheduler_config);

/// As diffusers' OtherScheduler.from_pretrained has it: keys in the file win, absent ones take the
/// defaults of the sampler's own class, those that it does not know count for nothing.
/// `rules`: "paper", where what the file says of clipping counts for every sampler and lists are
/// ours; or "diffusers", the class to the letter, its contradictions included (the list is in
/// docs/samplers.md). Throws Error (user) for keys of other formats, for values that this sampler
/// cannot follow, and for rules "diffusers" with a sampler that diffusers does not have.
SchedulerSetup scheduler_setup(const Json& scheduler_config, const SamplerInfo& sampler,
                               const std::string& rules = "paper");

}  // namespace tweedie

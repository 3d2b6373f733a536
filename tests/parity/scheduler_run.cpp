// scheduler_run FOLDER: what this library makes of FOLDER/cases.json (written by
// scheduler_live.py), into FOLDER/answers.safetensors and one scheduler folder a case.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstdio>

#include "tweedie/io/files.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/process/config_json.h"
#include "tweedie/process/process.h"
#include "tweedie/samplers/sampler.h"

using namespace tweedie;

namespace {

// The stand-in for a network; scheduler_live.py has the same. `double_output` adds a variance in
// -1..1.
Tensor network(const Tensor& x, const Tensor& t, bool double_output) {
  const Tensor time = (t / 1000).view({-1, 1, 1, 1});
  const Tensor out = 0.9 * (1.7 * x + 3 * time).sin() + 0.4 * x;
  return double_output ? at::cat({out, (2 * x + 5 * time).cos()}, 1) : out;
}

// One case in one type of numbers; the answers' names begin with `prefix`.
void run(const Json& one, const ProcessOptions& options, const TensorMap& inputs,
         at::ScalarType type, const std::string& prefix, TensorMap& answers) {
  const Process process(options);
  const bool learned = options.variance_type.starts_with("learned");
  const Denoiser denoise =
      process.denoiser([&](const Tensor& x, const Tensor& t) { return network(x, t, learned); });

  SamplerOptions sampler;
  sampler.variance_type = options.variance_type;
  sampler.eta = one["eta"];
  sampler.rederive_eps = one["rederive_eps"];
  const Tensor steps = inputs.at("steps").to(type);
  ReplayedNoise noise(inputs.at("init").to(type), steps);
  std::vector<Tensor> way, believed;
  find_sampler(one["sampler"])
      .run(denoise, noise.init(), process.levels(one["steps"]), sampler, noise,
           [&](int64_t, int64_t, const Tensor& x, const Tensor& x0) {
             way.push_back(x);
             believed.push_back(x0);
           });
  answers[prefix + "way"] = at::stack(way);
  answers[prefix + "x0"] = at::stack(believed);
  answers[prefix + "noised"] = process.add_noise(steps[0], steps[1], inputs.at("t"));
  answers[prefix + "target"] = process.target(steps[0], steps[1], inputs.at("t"));
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  const at::NoGradGuard no_grad;
  const TensorMap inputs = read_safetensors(folder + "/inputs.safetensors");
  TensorMap answers;
  for (const Json& one : read_json(folder + "/cases.json")) {
    const std::string name = one["name"];
    const ProcessOptions options = process_options_from_json(one["config"]);
    run(one, options, inputs, at::kFloat, name + ".float.", answers);
    run(one, options, inputs, at::kDouble, name + ".double.", answers);
    const std::string class_name = one["sampler"] == "ddpm" ? "DDPMScheduler" : "DDIMScheduler";
    write_json(folder + "/written_" + name + ".json", scheduler_json(options, class_name));
  }
  write_safetensors(folder + "/answers.safetensors", answers);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

// samplers_run FOLDER: the ends of the runs in FOLDER/cases.json (written by samplers_live.py), in
// float32, into FOLDER/answers.safetensors.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tweedie/io/files.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/samplers/scheduler.h"

using namespace tweedie;

namespace {

// The signal that a network takes x to hold at t, as samplers_live.py has it: by the table of the
// schedule, linear between its entries, or by an angle.
double signal(const Tensor& table, double t, bool angle) {
  if (angle) return std::cos(t * std::acos(0.));
  const double* abar = table.data_ptr<double>();
  const int64_t k = std::min(static_cast<int64_t>(t), table.size(0) - 1);
  const int64_t above = std::min(k + 1, table.size(0) - 1);
  return std::sqrt(abar[k] + (t - static_cast<double>(k)) * (abar[above] - abar[k]));
}

// A stand-in: what a network says of Gaussian data of spread 0.4, and something that is not linear.
Tensor network(const Tensor& x, double t, const Tensor& table, bool angle,
               const std::string& prediction) {
  const double a = signal(table, t, angle), s = std::sqrt(1 - a * a);
  const Tensor x0 = 0.16 * a / (0.16 * a * a + s * s) * x + 0.1 * s * (1.5 * x + 2 * a).sin();
  if (prediction == "sample") return x0;
  const Tensor eps = (x - a * x0) / s;
  return prediction == "epsilon" ? eps : a * eps - s * x0;
}

Tensor run(const Json& one, const TensorMap& inputs) {
  const std::string name = one["sampler"];
  SchedulerSetup setup = scheduler_setup(one["config"], find_sampler(name), one["rules"]);
  setup.grid.steps = one["steps"];
  setup.options.eta = one["eta"];
  const Process process(setup.process);
  const bool angle = name == "ipndm";
  const std::string prediction = setup.process.prediction_type;
  const Tensor table = inputs.at(one["table"]);
  const Denoiser denoise = process.denoiser([&](const Tensor& x, const Tensor& t) {
    return network(x, t[0].item<double>(), table, angle, prediction);
  });
  ReplayedNoise noise(inputs.at("init"), inputs.at("steps"));
  const Grid grid = make_grid(process, setup.grid);
  return find_sampler(name).run(denoise, grid.init * noise.init(), grid, setup.options, noise, {});
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  const at::NoGradGuard no_grad;
  const TensorMap inputs = read_safetensors(folder + "/inputs.safetensors");
  TensorMap answers;
  for (const Json& one : read_json(folder + "/cases.json")) answers[one["name"]] = run(one, inputs);
  write_safetensors(folder + "/answers.safetensors", answers);
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

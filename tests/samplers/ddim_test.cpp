#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/samplers/ramp.h"
#include "tweedie/process/process.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {
namespace {

double run(ProcessOptions options, int64_t steps = 10) {
  const Process process(options);
  return ramp_sum([&](const Tensor& x, Noise& noise) {
    return ddim(process.denoiser(ramp_network), x, process.levels(steps), {}, noise);
  });
}

}  // namespace

// Sums over the ramp that diffusers' own scheduler tests publish, or that its code gives.
TEST(Ddim, ReproducesThePublishedSums) {
  ProcessOptions o;
  EXPECT_NEAR(run(o), 172.0067, 1e-2);
  o.prediction_type = "v_prediction";
  EXPECT_NEAR(run(o), 52.5302, 1e-2);
  o = {};
  o.beta_start = 0.01;
  EXPECT_NEAR(run(o), 149.8295, 1e-2);
  o.set_alpha_to_one = false;
  EXPECT_NEAR(run(o), 149.0784, 1e-2);
  o = {};
  o.timestep_spacing = "trailing";
  EXPECT_NEAR(run(o), 170.0350, 1e-2);
  o.timestep_spacing = "linspace";  // along its own list
  EXPECT_NEAR(run(o), 169.464, 1e-2);
}

}  // namespace tweedie

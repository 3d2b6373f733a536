// A denoiser without a network: for a mixture of Gaussians E[x_0 | x_t] is known in closed form,
// and the same samplers that draw images draw points from the mixture.
#include <ATen/ATen.h>

#include <cstdio>

#include "tweedie/tweedie.h"

using namespace tweedie;

int main() {
  // Three clusters in the plane; x has the shape [N,C,H,W] = [N,2,1,1].
  const GaussianMixture mixture{
      .weights = {0.5, 0.3, 0.2},
      .means = at::tensor({-2.0, 0.0, 1.0, 1.5, 1.5, -1.0}, at::kDouble).view({3, 2, 1, 1}),
      .variances = {0.05, 0.1, 0.02}};
  const Process process({.clip_sample = false});
  SeededNoise noise(/*seed=*/0, /*first=*/0, {2000, 2, 1, 1});

  const Tensor x = find_sampler("ddim").run(mixture_denoiser(mixture), noise.init(),
                                            process.levels(100), {}, noise, {});

  const Tensor points = x.view({-1, 2}).to(at::kDouble);
  const Tensor nearest = at::cdist(points, mixture.means.view({3, 2})).argmin(1);
  for (int k = 0; k < 3; ++k)
    std::printf("cluster %d: weight %.2f, drawn %.3f\n", k, mixture.weights[k],
                nearest.eq(k).to(at::kDouble).mean().item<double>());
}

// From an image back to the noise that draws it, and between two noises.
#pragma once
#include "tweedie/process/denoiser.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {

struct InvertOptions {
  /// Of e = E(x_t) at the level that the step leads to, DDIM's step backwards exactly; 0 is the
  /// plain form, one call a step, which takes E where the step begins.
  int64_t iterations = 0;
};

/// Runs ddim with eta 0 backwards: x0 [N,C,H,W] to the noise at levels.front(), DDIM Sec. 4.3.
/// `levels` as ddim takes them; `at_data` is what the network is told of the clean image (t = 0).
/// The denoiser must not clip x_0, or no step has an inverse. on_step as in samplers, x0 being what
/// is believed. Throws Error naming the step where x is no longer finite.
Tensor ddim_invert(const Denoiser& denoise, Tensor x0, const std::vector<Level>& levels,
                   const Level& at_data, const InvertOptions& options, const StepFn& on_step = {});

/// Spherical interpolation, c of the way from a to b, each example by its own angle, DDIM
/// Sec. 5.3; linear where a and b are nearly parallel. c in [0,1]; a and b [N,...] of one shape.
Tensor slerp(const Tensor& a, const Tensor& b, double c);

}  // namespace tweedie

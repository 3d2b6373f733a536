// The loop that all samplers share.
#pragma once
#include "tweedie/samplers/sampler.h"

namespace tweedie {

/// What a step leads to, and the x_0 that was believed at its start.
struct Step {
  Tensor x, x0;
};

/// Step i of 0..N-1, from x at `at` to `next`.
using TakeStep =
    std::function<Step(const Tensor& x, int64_t i, const Level& at, const Level& next)>;

/// Takes the N steps of the grid, tells on_step of each, and throws Error naming `sampler`, the
/// step and t where x is no longer finite.
Tensor walk(const char* sampler, Tensor x, const Grid& grid, const StepFn& on_step,
            const TakeStep& step);

/// Asks for x_0 and derives the noise from it.
Evaluation evaluate(const Denoiser& denoise, const Tensor& x, const Level& at);

/// To `next` along the noise eps: x/alpha moves in a straight line with sigma/alpha. Needs alpha >
/// 0.
Tensor transfer(const Tensor& x, const Level& at, const Level& next, const Tensor& eps);

/// One step of EDM Alg. 1: Euler's, then the mean of the slopes at both ends. The step to the data,
/// and one from a level without signal, is Euler's alone.
Step heun_step(const Denoiser& denoise, const Tensor& x, const Level& at, const Level& next);

/// What lies between the levels. Throws Error (user) for a grid that does not say.
const Path& path_of(const char* sampler, const Grid& grid);

/// options.order, or `usual`. Throws Error (user) unless 1..most.
int64_t order_of(const char* sampler, const SamplerOptions& options, int64_t usual, int64_t most);

}  // namespace tweedie

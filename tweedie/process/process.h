// A diffusion process: how images are noised, what the network is asked for, what its answer means.
//
//   const Process process(options);
//   x_t = process.add_noise(x0, eps, t);                      // training
//   output = net(process.network_input(x_t, t), process.told(t));
//   loss = simple_loss(output, process.target(x0, eps, t));
//   Denoiser denoise = process.denoiser(net);                 // sampling
//   const Grid grid = make_grid(process, {.steps = 50});
//   x = ddim(denoise, grid.init * noise.init(), grid, ...);
//
// Papers: docs/papers.json.
#pragma once
#include "tweedie/process/denoiser.h"
#include "tweedie/process/options.h"
#include "tweedie/process/schedule.h"

namespace tweedie {

/// Images are [N,C,H,W] in [-1,1] (any shape [N,...] works); t is [N], int64, 0..T-1, any device;
/// LibTorch throws for another.
/// Immutable and safe to share between threads; copies share their tables.
class Process {
 public:
  /// Throws Error (user) for betas that are no schedule.
  explicit Process(ProcessOptions options);
  const ProcessOptions& options() const { return options_; }
  const Schedule& schedule() const { return schedule_; }

  /// x_t = alpha_t x_0 + sigma_t eps; on the vp path sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps.
  Tensor add_noise(const Tensor& x0, const Tensor& eps, const Tensor& t) const;
  /// What the network is told of t, [N]: t itself on the vp path, else float32.
  Tensor told(const Tensor& t) const;
  /// What the network is given of x_t: x_t itself, for prediction_type edm of unit variance.
  Tensor network_input(const Tensor& x_t, const Tensor& t) const;
  /// What the network is asked for at x_t: eps, x_0, v, the velocity or EDM's F, by
  /// prediction_type.
  Tensor target(const Tensor& x0, const Tensor& eps, const Tensor& t) const;

  /// What the network's output at x_t says about x_0. 2C channels are split: the second half is the
  /// learned variance. x0 is clipped or thresholded as the options say; eps is that of the
  /// unclipped x0. Throws Error for another number of channels, and for prediction_type epsilon
  /// where alpha is 0.
  Estimate estimate(const Tensor& output, const Tensor& x, const Level& at) const;
  /// The same with a timestep t [N] for each example.
  Estimate estimate(const Tensor& output, const Tensor& x, const Tensor& t) const;
  /// x0 clamped, dynamically thresholded or left alone, as the options say.
  Tensor clip(const Tensor& x0) const;

  /// The way of a sampler: `steps` levels, noisiest first, then where it ends (N + 1 entries).
  /// `spacing` and `offset` override the options'. Throws Error for steps outside 1..T. Made into a
  /// Grid as they stand they begin at unit noise, which is right on the vp path: make_grid() knows.
  std::vector<Level> levels(int64_t steps, const std::optional<std::string>& spacing = {},
                            std::optional<int64_t> offset = {}) const;
  /// The same along timesteps of one's own, strictly falling.
  std::vector<Level> levels_at(const std::vector<int64_t>& timesteps) const;
  /// Where a way ends: the data, or the level of t = 0 if set_alpha_to_one is false.
  Level end() const;

  /// A sampler that begins at this level does so with this multiple of standard normal noise: 1 on
  /// the vp path, else sigma.
  double initial_std(const Level& first) const;

  /// network(x [N,C,H,W], t [N] of x's type) with the condition bound inside. The Denoiser throws
  /// Error where the network's output is not finite, naming t.
  Denoiser denoiser(std::function<Tensor(const Tensor& x, const Tensor& t)> network) const;

 private:
  void require_signal(const Level& at) const;
  template <class Number>
  Estimate convert(const Tensor& output, const Tensor& x, const Number& a, const Number& s) const;

  ProcessOptions options_;
  Schedule schedule_;
  Tensor alpha_, sigma_, told_;  // [T] float64 on the CPU
};

}  // namespace tweedie

// A noise schedule that is trained (VDM arXiv 2107.00630): its ends by the variational bound, its
// shape by the variance of the bound's estimate, on which alone the shape has an effect when steps
// are many.
//
//   LearnedSchedule schedule({.num_train_timesteps = 1000});
//   const ScheduleDraw at = schedule.draw(n, rng.uniform());
//   x_t = at.alpha * x_0 + at.sigma * eps;                        // each example at its own step
//   error = (eps - net(x_t, at.step - 1)).square() summed over an example
//   schedule.step(schedule.terms(at, x_0, error), 1e-3);          // and the network's own step
//   options.trained_betas = schedule.trained_betas();             // what the folder keeps
#pragma once
#include <functional>

#include "tweedie/core/options.h"
#include "tweedie/core/rng.h"
#include "tweedie/nn/monotone.h"
#include "tweedie/train/optimizer.h"

namespace tweedie {

struct LearnedScheduleOptions {
  int64_t num_train_timesteps = 1000;
  double g0 = -9.21, g1 = 10.12;  // nats: those of the linear schedule with T = 1000
  int64_t width = 32;
  int64_t seed = 0;
  double level_width = 0;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("num_train_timesteps", self.num_train_timesteps, "T, the steps from image to noise",
          between(2, 1e6));
    field("g0", self.g0, "-ln SNR at t = 0 before training", between(-30, 30));
    field("g1", self.g1, "-ln SNR at t = 1 before training", between(-30, 30));
    field("width", self.width, "sigmoids of the monotone network", between(1, 1 << 16));
    field("seed", self.seed, "of the monotone network", at_least(0));
    field("level_width", self.level_width,
          "between the levels that the data take, 0 for a density; of 8-bit pixels 1/127.5",
          between(0, 1));
  }
};

/// Where the examples of a batch stand. Differentiable in the schedule's parameters, but for
/// `step`.
struct ScheduleDraw {
  Tensor step;          ///< [N] int64, 1..T: the papers' t; a network is told step - 1
  Tensor alpha, sigma;  ///< [N] float64
  Tensor weight;  ///< [N] float64: T times the bound's weight of |eps - E|^2; 0 at step 1, which is
                  ///< the decoder's
};

/// The bound of the chain that trained_betas() makes, nats of a whole example, [N] float64; its
/// steps have the posterior's variance, its decoder is N(x_0; x_1/alpha_1, (sigma_1/alpha_1)^2 I),
/// or with a level_width the same over the levels alone (VDM Eq. 8), as if they had no end.
struct ScheduleTerms {
  Tensor prior;      ///< L_T, exact
  Tensor decoder;    ///< L_0, exact: its mean over x_1
  Tensor diffusion;  ///< one draw's estimate of the sum of all L_(t-1)
  Tensor total() const { return prior + decoder + diffusion; }
};

class LearnedSchedule {
 public:
  /// Throws Error for options out of range, g0 >= g1 among them.
  explicit LearnedSchedule(const LearnedScheduleOptions& options = {});

  int64_t size() const { return T_; }
  /// ln SNR at t of any shape, float64 in [0,1]; differentiable in the parameters.
  Tensor log_snr(const Tensor& t) const;
  /// Steps of n examples, stratified: t_j = (u + j/n) mod 1 for one u in [0,1).
  ScheduleDraw draw(int64_t n, double u) const;
  /// x0 [N,...] and squared_error [N] = |eps - E|^2 summed over an example, E at `draw`'s levels
  /// with the graph that leads there. A network that is told the step alone passes on the gradient
  /// through x_t; the part through what it is told vanishes in the mean for a network that is
  /// trained.
  ScheduleTerms terms(const ScheduleDraw& draw, const Tensor& x0,
                      const Tensor& squared_error) const;
  /// One step of Adam: the ends down the mean of total(), the shape down that of diffusion^2.
  /// Leaves the graph behind `terms` for the network's own backward pass.
  void step(const ScheduleTerms& terms, double learning_rate);

  /// T betas, each in (0,1): Schedule(trained_betas()) has ln SNR log_snr(i/T) at its step i - 1.
  /// Throws Error if training has led to a schedule that float64 cannot hold.
  std::vector<double> trained_betas() const;

  /// Parameters, the optimiser's state and the count of steps, to go on exactly; views.
  TensorMap state() const;
  /// Throws Error naming `source` and what is missing or of another shape.
  void load(const TensorMap& state, const std::string& source);

 private:
  Tensor g_at(const Tensor& step) const;

  int64_t T_;
  double level_width_;
  Monotone g_;
  Tensor steps_done_;  // one int64
  AdamW optimizer_;
};

/// eps as it is believed at x [N,...], a level for each example: alpha and sigma [N] float64.
/// Differentiable in all three.
using EpsAt = std::function<Tensor(const Tensor& x, const Tensor& alpha, const Tensor& sigma)>;
/// n examples [n,...].
using DrawExamples = std::function<Tensor(int64_t n, Rng rng)>;

/// Trains a schedule for a denoiser that stays as it is: `iterations` batches, the rate falling
/// from `learning_rate` to 0 as a cosine does. Randomness is a function of options.seed.
LearnedSchedule learn_schedule(const EpsAt& eps_at, const DrawExamples& data,
                               const LearnedScheduleOptions& options, int64_t iterations,
                               int64_t batch_size, double learning_rate);

}  // namespace tweedie

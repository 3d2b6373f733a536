#include "tweedie/train/learned_schedule.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/beside.h"
#include "tweedie/core/error.h"
#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

Tensor standard_normal(at::IntArrayRef sizes, Rng rng) {
  const Tensor z = at::empty(sizes, at::kDouble);
  for (int64_t i = 0; i < z.numel(); ++i) z.data_ptr<double>()[i] = rng.normal();
  return z;
}

// The mean over eps of -ln P(0 | r eps) where all integers are as likely and blurred by r, [1].
Tensor level_entropy(const Tensor& r) {
  const Tensor eps = at::linspace(-6, 6, 241, at::kDouble).unsqueeze(1);
  const Tensor density = (-eps.square() / 2).exp(), weight = density / density.sum();
  const double reach = std::ceil(8 * r.item<double>()) + 2;
  const Tensor levels = at::arange(-reach, reach + 1, at::kDouble);
  const Tensor score = -(r * eps - levels).square() / (2 * r.square());
  const Tensor log_p = score.log_softmax(1).select(1, static_cast<int64_t>(reach));
  return -(weight.squeeze(1) * log_p).sum().view({1});  // VDM Eq. 8
}

Monotone make(const LearnedScheduleOptions& given) {
  LearnedScheduleOptions options;
  from_json(to_json(given), options);  // checks them
  return Monotone(options.g0, options.g1, options.width, options.seed);
}

Parameters parameters_of(const MonotoneImpl& g) {
  Parameters all;
  for (const auto& item : g.named_parameters()) {
    all.names.push_back(item.key());
    all.tensors.push_back(item.value());
  }
  return all;
}

void set_gradients(const Tensor& loss, const std::vector<Tensor>& parameters) {
  const std::vector<Tensor> gradients =
      torch::autograd::grad({loss}, parameters, {}, /*retain_graph=*/true);
  for (size_t i = 0; i < parameters.size(); ++i) {
    Tensor parameter = parameters[i];
    parameter.mutable_grad() = gradients[i];
  }
}

}  // namespace

LearnedSchedule::LearnedSchedule(const LearnedScheduleOptions& options)
    : T_(options.num_train_timesteps),
      level_width_(options.level_width),
      g_(make(options)),
      steps_done_(at::zeros({1}, at::kLong)),
      optimizer_(parameters_of(*g_), {.beta2 = 0.99}) {}

Tensor LearnedSchedule::log_snr(const Tensor& t) const { return -g_->forward(t); }

Tensor LearnedSchedule::g_at(const Tensor& step) const {
  return g_->forward(step.to(at::kDouble) / static_cast<double>(T_));
}

ScheduleDraw LearnedSchedule::draw(int64_t n, double u) const {
  const Tensor t =
      (u + at::arange(n, at::kDouble) / static_cast<double>(n)).remainder(1);  // VDM App.
  const double T = static_cast<double>(T_);
  const Tensor step = (t * T).floor().clamp_max(T - 1).to(at::kLong) + 1;
  const Tensor g = g_at(step), before = g_at((step - 1).clamp_min(1));  // no weight at step 1
  const Tensor weight = at::expm1(g - before) / 2;                      // VDM Sec. 4
  return {step, at::sigmoid(-g).sqrt(), at::sigmoid(g).sqrt(), T * weight};
}

ScheduleTerms LearnedSchedule::terms(const ScheduleDraw& draw, const Tensor& x0,
                                     const Tensor& squared_error) const {
  const Tensor x = x0.flatten(1).to(at::kCPU, at::kDouble);
  const double D = static_cast<double>(x.size(1));
  const Tensor abar = at::sigmoid(-g_->g1);
  const Tensor log_variance = at::log_sigmoid(g_->g1);                       // ln(1 - abar_T)
  const Tensor prior = (abar * (x.square() - 1) - log_variance).sum(1) / 2;  // DDPM Eq. 5
  const Tensor first = g_at(at::ones({1}, at::kLong));                       // ln r_1^2
  const Tensor decoder =
      D * (level_width_ > 0 ? level_entropy((first / 2).exp() / level_width_)
                            : (std::log(2 * std::numbers::pi) + first + 1) / 2);   // DDPM Eq. 5
  const Tensor diffusion = draw.weight * squared_error.to(at::kCPU, at::kDouble);  // VDM Sec. 4
  return {prior, decoder.expand_as(prior), diffusion};
}

void LearnedSchedule::step(const ScheduleTerms& terms, double learning_rate) {
  set_gradients(terms.total().mean(), g_->end_points());
  set_gradients(terms.diffusion.square().mean(), g_->shape());  // VDM, its appendix on the schedule
  steps_done_ += 1;
  optimizer_.step({.learning_rate = learning_rate, .k = steps_done_.item<int64_t>()});
  optimizer_.zero_grad();
}

std::vector<double> LearnedSchedule::trained_betas() const {
  const at::NoGradGuard no_grad;
  const Tensor g = g_at(at::arange(1, T_ + 1));
  const Tensor log_abar = at::log_sigmoid(-g);
  const Tensor first = at::sigmoid(g.narrow(0, 0, 1));                 // beta_1 = 1 - abar_1
  const Tensor betas = at::cat({first, -at::expm1(log_abar.diff())});  // VDM Sec. 3
  const double* beta = betas.data_ptr<double>();
  for (int64_t i = 0; i < T_; ++i)
    if (!(beta[i] > 0 && beta[i] < 1))
      fail("[train] the learned schedule's beta of step {} is {}: it must lie between 0 and 1", i,
           beta[i]);
  return {beta, beta + T_};
}

TensorMap LearnedSchedule::state() const {
  TensorMap out = state_of(*g_);
  for (const auto& [name, tensor] : optimizer_.state()) out[name] = tensor;
  out["steps"] = steps_done_;
  return out;
}

void LearnedSchedule::load(const TensorMap& state, const std::string& source) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, ours] : this->state()) {
    const auto found = state.find(name);
    if (found == state.end()) fail("[train] {}: {} is missing", source, name);
    if (found->second.sizes() != ours.sizes())
      fail("[train] {}: {} has {} numbers and needs {}", source, name, found->second.numel(),
           ours.numel());
    Tensor(ours).copy_(found->second);
  }
}

LearnedSchedule learn_schedule(const EpsAt& eps_at, const DrawExamples& data,
                               const LearnedScheduleOptions& options, int64_t iterations,
                               int64_t batch_size, double learning_rate) {
  LearnedSchedule schedule(options);
  for (int64_t k = 0; k < iterations; ++k) {
    const auto chance = [&](const char* use) { return Rng(options.seed, stream_of(use, k)); };
    const Tensor x0 = data(batch_size, chance("examples"));
    const Tensor eps = standard_normal(x0.sizes(), chance("eps")).to(x0.options());
    const ScheduleDraw at = schedule.draw(batch_size, chance("t").uniform());
    const Tensor x = beside(at.alpha.to(x0.options()), x0) * x0 +  // DDPM Eq. 4
                     beside(at.sigma.to(x0.options()), x0) * eps;
    const Tensor off = eps - eps_at(x, at.alpha, at.sigma);
    const ScheduleTerms terms = schedule.terms(at, x0, off.square().flatten(1).sum(1));
    const double share = static_cast<double>(k) / static_cast<double>(iterations);
    schedule.step(terms, learning_rate * (1 + std::cos(std::numbers::pi * share)) / 2);
  }
  return schedule;
}

}  // namespace tweedie

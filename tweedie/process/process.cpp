#include "tweedie/process/process.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "tweedie/process/timesteps.h"

namespace tweedie {
namespace {

// table[t] as [N,1,1,1], beside x and of its type; cast after gathering.
Tensor gather(const Tensor& table, const Tensor& t, const Tensor& x) {
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = t.size(0);
  return table.to(t.device()).index_select(0, t).to(x.options()).view(shape);
}

// Imagen Sec. 2.3: the quantile of |x_0| in each example becomes 1, what lies beyond is cut.
Tensor dynamic_threshold(const Tensor& x0, double ratio, double max_value) {
  std::vector<Tensor> quantiles;
  for (const Tensor& example : x0.flatten(1).abs().unbind(0))
    quantiles.push_back(example.quantile(ratio));
  std::vector<int64_t> shape(x0.dim(), 1);
  shape[0] = x0.size(0);
  const Tensor s = at::stack(quantiles).clamp(1, max_value).view(shape);
  return at::clamp(x0, -s, s) / s;
}

}  // namespace

Process::Process(ProcessOptions options)
    : options_(std::move(options)), schedule_(make_betas(options_)) {
  alpha_ = at::empty({schedule_.size()}, at::kDouble);
  sigma_ = at::empty_like(alpha_);
  for (int64_t k = 0; k < schedule_.size(); ++k) {
    alpha_.data_ptr<double>()[k] = schedule_.level(k).alpha;
    sigma_.data_ptr<double>()[k] = schedule_.level(k).sigma;
  }
}

Tensor Process::add_noise(const Tensor& x0, const Tensor& eps, const Tensor& t) const {
  RECORD_USER_SCOPE("tweedie::data");
  const Tensor a = gather(alpha_, t, x0), s = gather(sigma_, t, x0);
  return a * x0 + s * eps;  // DDPM Eq. 4
}

Tensor Process::target(const Tensor& x0, const Tensor& eps, const Tensor& t) const {
  if (options_.prediction_type == "epsilon") return eps;
  if (options_.prediction_type == "sample") return x0;
  const Tensor a = gather(alpha_, t, x0), s = gather(sigma_, t, x0);
  return a * eps - s * x0;  // PD Sec. 4
}

Estimate Process::estimate(const Tensor& output, const Tensor& x, const Level& at) const {
  require_signal(at);
  const int64_t C = x.size(1), channels = output.size(1);
  if (channels != C && channels != 2 * C)
    fail(
        "[process] the network gives {} channels for an image of {}: expected {}, or {} with a "
        "learned variance",
        channels, C, C, 2 * C);
  const Tensor out = output.narrow(1, 0, C).to(x.scalar_type());
  const double a = at.alpha, s = at.sigma;

  Estimate e;
  if (options_.prediction_type == "epsilon") {
    e.eps = out;
    e.x0 = (x - s * out) / a;  // DDPM Eq. 15
  } else if (options_.prediction_type == "sample") {
    e.x0 = out;
    e.eps = (x - a * out) / s;  // DDPM Eq. 4
  } else {
    e.x0 = a * x - s * out;   // PD Sec. 4
    e.eps = s * x + a * out;  // PD Sec. 4
  }
  e.x0 = clip(e.x0);
  if (channels == 2 * C) e.log_variance = output.narrow(1, C, C).to(x.scalar_type());
  return e;
}

Tensor Process::clip(const Tensor& x0) const {
  if (options_.thresholding)
    return dynamic_threshold(x0, options_.dynamic_thresholding_ratio, options_.sample_max_value);
  if (options_.clip_sample)
    return x0.clamp(-options_.clip_sample_range, options_.clip_sample_range);
  return x0;
}

std::vector<Level> Process::levels(int64_t steps, const std::optional<std::string>& spacing,
                                   std::optional<int64_t> offset) const {
  return levels_at(timesteps(spacing.value_or(options_.timestep_spacing), schedule_.size(), steps,
                             offset.value_or(options_.steps_offset)));
}

std::vector<Level> Process::levels_at(const std::vector<int64_t>& timesteps) const {
  std::vector<Level> levels;
  for (const int64_t t : timesteps) {
    if (t < 0 || t >= schedule_.size())
      fail("[process] timestep {} is outside 0..{}", t, schedule_.size() - 1);
    if (!levels.empty() && t >= levels.back().t)
      fail("[process] timesteps must fall: {} follows {}", t, levels.back().t);
    levels.push_back(schedule_.level(t));
    require_signal(levels.back());
  }
  levels.push_back(end());
  return levels;
}

Level Process::end() const {
  Level end = schedule_.level(options_.set_alpha_to_one ? -1 : 0);
  end.t = -1;
  return end;
}

Denoiser Process::denoiser(std::function<Tensor(const Tensor& x, const Tensor& t)> network) const {
  return [process = *this, network = std::move(network)](const Tensor& x, const Level& at) {
    const Tensor output = network(x, at::full({x.size(0)}, at.t, x.options()));
    if (!output.isfinite().all().item<bool>())
      fail("[process] the network's output at t = {} is not finite (NaN or Inf)", at.t);
    return process.estimate(output, x, at);
  };
}

void Process::require_signal(const Level& at) const {
  if (at.alpha == 0 && options_.prediction_type == "epsilon")
    fail(
        "[process] at t = {} the schedule leaves no signal, so x_0 does not follow from "
        "prediction_type epsilon: use v_prediction or sample, or timestep_spacing leading",
        at.t);
}

}  // namespace tweedie

#include "tweedie/process/process.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <cmath>

#include "tweedie/core/beside.h"
#include "tweedie/process/timesteps.h"

namespace tweedie {
namespace {

// table[t] as [N,1,1,1], beside x and of its type; cast after gathering.
Tensor gather(const Tensor& table, const Tensor& t, const Tensor& x) {
  return beside(table.to(t.device()).index_select(0, t).to(x.options()), x);
}

Tensor root(const Tensor& x) { return x.sqrt(); }
double root(double x) { return std::sqrt(x); }

// The standard deviation of x_t where the images have that of `data`.
template <class Number>
Number spread(const Number& a, const Number& s, double data) {
  return root(a * a * (data * data) + s * s);
}

// Imagen Sec. 2.3: the quantile of |x_0| in each example becomes 1, what lies beyond is cut.
Tensor dynamic_threshold(const Tensor& x0, double ratio, double max_value) {
  std::vector<Tensor> quantiles;
  for (const Tensor& example : x0.flatten(1).abs().unbind(0))
    quantiles.push_back(example.quantile(ratio));
  const Tensor s = beside(at::stack(quantiles).clamp(1, max_value), x0);
  return at::clamp(x0, -s, s) / s;
}

}  // namespace

Process::Process(ProcessOptions options)
    : options_(std::move(options)), schedule_(make_schedule(options_)) {
  alpha_ = at::empty({schedule_.size()}, at::kDouble);
  sigma_ = at::empty_like(alpha_), told_ = at::empty_like(alpha_);
  for (int64_t k = 0; k < schedule_.size(); ++k) {
    alpha_.data_ptr<double>()[k] = schedule_.level(k).alpha;
    sigma_.data_ptr<double>()[k] = schedule_.level(k).sigma;
    told_.data_ptr<double>()[k] = schedule_.level(k).t;
  }
}

Tensor Process::add_noise(const Tensor& x0, const Tensor& eps, const Tensor& t) const {
  RECORD_USER_SCOPE("tweedie::data");
  const Tensor a = gather(alpha_, t, x0), s = gather(sigma_, t, x0);
  return a * x0 + s * eps;  // DDPM Eq. 4
}

Tensor Process::told(const Tensor& t) const {
  if (options_.path == "vp") return t;
  return told_.to(t.device()).index_select(0, t).to(at::kFloat);
}

Tensor Process::network_input(const Tensor& x_t, const Tensor& t) const {
  if (options_.prediction_type != "edm") return x_t;
  return x_t / spread(gather(alpha_, t, x_t), gather(sigma_, t, x_t), options_.sigma_data);
}

double Process::initial_std(const Level& first) const {
  return options_.path == "vp" ? 1 : first.sigma;
}

Tensor Process::target(const Tensor& x0, const Tensor& eps, const Tensor& t) const {
  if (options_.prediction_type == "epsilon") return eps;
  if (options_.prediction_type == "sample") return x0;
  if (options_.prediction_type == "flow_prediction") return eps - x0;  // FM Sec. 4
  const Tensor a = gather(alpha_, t, x0), s = gather(sigma_, t, x0);
  if (options_.prediction_type == "v_prediction") return a * eps - s * x0;  // PD Sec. 4
  const double d = options_.sigma_data;
  return (s / d * x0 - d * a * eps) / spread(a, s, d);  // EDM Eq. 8
}

// a and s are numbers, or [N,1,1,1].
template <class Number>
Estimate Process::convert(const Tensor& output, const Tensor& x, const Number& a,
                          const Number& s) const {
  const int64_t C = x.size(1), channels = output.size(1);
  if (channels != C && channels != 2 * C)
    fail(
        "[process] the network gives {} channels for an image of {}: expected {}, or {} with a "
        "learned variance",
        channels, C, C, 2 * C);
  const Tensor out = output.narrow(1, 0, C).to(x.scalar_type());

  Estimate e;
  if (options_.prediction_type == "epsilon") {
    e.eps = out;
    e.x0 = (x - s * out) / a;  // DDPM Eq. 15
  } else if (options_.prediction_type == "sample") {
    e.x0 = out;
    e.eps = (x - a * out) / s;  // DDPM Eq. 4
  } else if (options_.prediction_type == "v_prediction") {
    const Number power = a * a + s * s;  // 1 on the vp path
    e.x0 = (a * x - s * out) / power;    // PD Sec. 4
    e.eps = (s * x + a * out) / power;   // PD Sec. 4
  } else if (options_.prediction_type == "flow_prediction") {
    e.x0 = (x - s * out) / (a + s);   // FM Sec. 4
    e.eps = (x + a * out) / (a + s);  // FM Sec. 4
  } else {
    const double d = options_.sigma_data;
    const Number q = spread(a, s, d);
    e.x0 = (d * d * a / q) * (x / q) + (s * d / q) * out;  // EDM Eq. 7
    e.eps = (s / q) * (x / q) - (a * d / q) * out;         // EDM Eq. 7
  }
  e.x0 = clip(e.x0);
  if (channels == 2 * C) e.log_variance = output.narrow(1, C, C).to(x.scalar_type());
  return e;
}

Estimate Process::estimate(const Tensor& output, const Tensor& x, const Level& at) const {
  require_signal(at);
  return convert(output, x, at.alpha, at.sigma);
}

Estimate Process::estimate(const Tensor& output, const Tensor& x, const Tensor& t) const {
  const Level last = schedule_.level(schedule_.size() - 1);
  if (last.alpha == 0 && t.eq(schedule_.size() - 1).any().item<bool>()) require_signal(last);
  return convert(output, x, gather(alpha_, t, x), gather(sigma_, t, x));
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
  int64_t before = schedule_.size();
  for (const int64_t t : timesteps) {
    if (t < 0 || t >= schedule_.size())
      fail("[process] timestep {} is outside 0..{}", t, schedule_.size() - 1);
    if (t >= before) fail("[process] timesteps must fall: {} follows {}", t, before);
    levels.push_back(schedule_.level(t));
    require_signal(levels.back());
    before = t;
  }
  levels.push_back(end());
  return levels;
}

Level Process::end() const { return schedule_.level(options_.set_alpha_to_one ? -1 : 0); }

Denoiser Process::denoiser(std::function<Tensor(const Tensor& x, const Tensor& t)> network) const {
  return [process = *this, network = std::move(network)](const Tensor& x, const Level& at) {
    const bool scaled = process.options_.prediction_type == "edm";
    const double scale = scaled ? spread(at.alpha, at.sigma, process.options_.sigma_data) : 1;
    const Tensor input = scaled ? x / scale : x;
    const Tensor output = network(input, at::full({x.size(0)}, at.t, x.options()));
    if (!output.isfinite().all().item<bool>())
      fail("[process] the network's output at t = {} is not finite (NaN or Inf)", at.t);
    return process.estimate(output, x, at);
  };
}

void Process::require_signal(const Level& at) const {
  if (at.alpha == 0 && options_.prediction_type == "epsilon")
    fail(
        "[process] at t = {} the schedule leaves no signal, so x_0 does not follow from "
        "prediction_type epsilon, as it does from v_prediction or sample; timesteps that leave "
        "that "
        "t out (leading, of fewer steps) do without",
        at.t);
}

}  // namespace tweedie

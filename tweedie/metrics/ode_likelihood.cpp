#include "tweedie/metrics/ode_likelihood.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <numbers>

#include "tweedie/core/rng.h"
#include "tweedie/metrics/runge_kutta.h"
#include "tweedie/process/path.h"

namespace tweedie {
namespace {

// A sampler's levels from the least noisy on, without the data.
std::vector<Level> rising(const std::vector<Level>& levels, const OdeLikelihoodOptions& options) {
  std::vector<Level> nodes(levels.rbegin(), levels.rend());
  if (!nodes.empty() && nodes.front().sigma == 0) nodes.erase(nodes.begin());
  const size_t least = options.method == "rk4" ? 3 : 2;
  if (nodes.size() < least)
    fail("[metrics] {} needs at least {} levels with sigma > 0 and got {}", options.method, least,
         nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Level& at = nodes[i];
    if (!(at.alpha > 0))
      fail("[metrics] the level at sigma {} leaves no signal: the ODE needs alpha > 0", at.sigma);
    if (i > 0 && !(noise_ratio(at) > noise_ratio(nodes[i - 1])))
      fail("[metrics] levels must fall: sigma/alpha is {} and then {}", noise_ratio(at),
           noise_ratio(nodes[i - 1]));
  }
  return nodes;
}

// [probes,N,...] of x's type; each example's from its own stream.
Tensor draw_probes(const Tensor& x, const OdeLikelihoodOptions& options) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.insert(shape.begin(), options.probes);
  const Tensor probes = at::empty(shape, at::kDouble);
  double* out = probes.data_ptr<double>();
  const int64_t N = x.size(0), D = N > 0 ? x.numel() / N : 0;
  for (int64_t k = 0; k < options.probes; ++k)
    for (int64_t i = 0; i < N; ++i) {
      Rng rng(options.seed, stream_of("probe", options.first + i, k));
      for (int64_t d = 0; d < D; ++d)
        *out++ = options.probe == "gaussian" ? rng.normal() : rng.bits() & 1 ? 1. : -1.;
    }
  return probes.to(x.options());
}

// The right-hand side of the ODE in variance-preserving scale, x = x_t / sqrt(alpha^2 + sigma^2) =
// cos(theta) x_0 + sin(theta) eps: there x stays of one size from data to noise.
class Flow {
 public:
  Flow(const Denoiser& denoise, const Tensor& x, const OdeLikelihoodOptions& options)
      : denoise_(denoise), type_(x.options()), D_(static_cast<double>(x[0].numel())) {
    if (options.divergence == "hutchinson") probes_ = draw_probes(x, options);
  }

  struct Slope {
    Tensor v;           // dx/dtheta, [N,...] float64
    Tensor divergence;  // div_x of it, [N,1], or [N,probes] estimates; float64
  };
  Slope operator()(const Tensor& state, const Level& at) {
    const at::AutoGradMode with_grad(true);
    const double n = std::hypot(at.alpha, at.sigma), c = at.alpha / n, s = at.sigma / n;
    const Tensor x = (n * state).to(type_).detach().requires_grad_(true);
    const Tensor eps = denoise_(x, at).eps;
    ++calls_;
    if (!eps.requires_grad())
      fail("[metrics] the denoiser's eps does not depend on x as autograd sees it");
    const Tensor of_eps = n * (probes_.defined() ? estimates(eps, x) : trace(eps, x));
    const Tensor v = (eps.detach().to(at::kDouble) - s * state) / c;  // PD App.: a eps - s x_0
    return {v, (of_eps - s * D_) / c};
  }
  int64_t calls() const { return calls_; }

 private:
  // One backward pass for all examples: `seed` [N,...] times deps/dx.
  static Tensor pull_back(const Tensor& eps, const Tensor& x, const Tensor& seed) {
    return torch::autograd::grad({eps}, {x}, {seed}, /*retain_graph=*/true)[0].to(at::kDouble);
  }
  // sum_d deps_d/dx_d, [N,1].
  static Tensor trace(const Tensor& eps, const Tensor& x) {
    const int64_t N = x.size(0), D = N > 0 ? x.numel() / N : 0;
    Tensor sum = at::zeros({N}, x.options().dtype(at::kDouble));
    for (int64_t d = 0; d < D; ++d) {
      const Tensor unit = at::zeros({N, D}, eps.options());
      unit.select(1, d).fill_(1);
      sum += pull_back(eps, x, unit.view(eps.sizes())).reshape({N, D}).select(1, d);
    }
    return sum.unsqueeze(1);
  }
  // g^T (deps/dx) g for each probe g, [N,probes]: FFJORD Eq. 7.
  Tensor estimates(const Tensor& eps, const Tensor& x) const {
    std::vector<Tensor> each;
    for (const Tensor& g : probes_.unbind(0))
      each.push_back((pull_back(eps, x, g) * g).flatten(1).sum(1));
    return at::stack(each, 1);
  }

  const Denoiser& denoise_;
  at::TensorOptions type_;
  double D_;
  Tensor probes_;
  int64_t calls_ = 0;
};

// A step of the ODE: its levels, its tableau and, at each level, dtheta of the step's whole length.
struct Step {
  std::vector<Level> through;
  Tableau rk;
  std::vector<double> dtheta;
};

// Of the variables ln r, r and 1/r, any of which may be stepped in, the one in which the levels are
// most even: schedules differ in which that is, and from one end to the other.
Step step_through(std::vector<Level> through) {
  Step best{std::move(through)};
  double least = 30;  // of a weight: more than that is noise
  for (const double p : {0., 1., -1.}) {
    std::vector<double> places, slopes;  // of s = ln r or r^p / p, with ds/dr = r^(p-1)
    for (const Level& at : best.through) {
      const double r = noise_ratio(at);
      places.push_back(p == 0 ? std::log(r) : std::pow(r, p) / p);
      slopes.push_back(std::pow(r, 1 - p) / (1 + r * r));  // dtheta/ds, r = tan(theta)
    }
    const Tableau rk = tableau(places);
    if (!(rk.largest() < least)) continue;
    least = rk.largest();
    best.rk = rk, best.dtheta = slopes;
    for (double& slope : best.dtheta) slope *= places.back() - places.front();
  }
  if (best.dtheta.empty())
    fail("[metrics] the levels from sigma/alpha {:.4g} to {:.4g} are too uneven for rk4",
         noise_ratio(best.through.front()), noise_ratio(best.through.back()));
  return best;
}

}  // namespace

OdeLikelihood ode_log_density(const Denoiser& denoise, const Tensor& x,
                              const std::vector<Level>& levels, const OdeLikelihoodOptions& given,
                              const std::function<void(int64_t, int64_t)>& on_step) {
  OdeLikelihoodOptions options;
  from_json(to_json(given), options);  // checks them
  const std::vector<Level> nodes = rising(levels, options);
  const int64_t intervals = static_cast<int64_t>(nodes.size()) - 1;
  if (x.size(0) == 0) fail("[metrics] no examples");

  Flow flow(denoise, x, options);
  const double c = std::cos(std::atan(noise_ratio(nodes.front())));
  Tensor state = c * x.detach().to(at::kDouble);
  Tensor integral = at::zeros({x.size(0), 1}, state.options());
  int64_t done = 0;
  for (const int64_t stride : rk_strides(intervals, options.method == "heun" ? 1 : 3)) {
    const Step step = step_through({nodes.begin() + done, nodes.begin() + done + stride + 1});
    std::vector<Flow::Slope> slopes;
    for (size_t i = 0; i < step.through.size(); ++i) {
      Tensor stage = state;
      for (size_t j = 0; j < i; ++j) stage = stage + step.rk.a[i][j] * step.dtheta[j] * slopes[j].v;
      slopes.push_back(flow(stage, step.through[i]));
    }
    for (size_t i = 0; i < step.through.size(); ++i) {
      const double weight = step.rk.b[i] * step.dtheta[i];
      state = state + weight * slopes[i].v;                 // DDIM Eq. 14
      integral = integral + weight * slopes[i].divergence;  // SDE Sec. 4.3
    }
    done += stride;
    if (!state.isfinite().all().item<bool>() || !integral.isfinite().all().item<bool>())
      fail("[metrics] the ODE is no longer finite at sigma {}", step.through.back().sigma);
    if (on_step) on_step(done, intervals);
  }

  const double D = static_cast<double>(x[0].numel());
  const Tensor prior = -state.square().flatten(1).sum({1}, /*keepdim=*/true) / 2 -
                       D / 2 * std::log(2 * std::numbers::pi);
  const Tensor each = prior + integral + D * std::log(c);  // SDE Sec. 4.3; the data's scale
  const int64_t probes = each.size(1);
  OdeLikelihood out{.log_density = each.mean(1), .calls = flow.calls(), .at = nodes.front()};
  if (options.divergence == "exact")
    out.standard_error = at::zeros_like(out.log_density);
  else
    out.standard_error = probes > 1 ? each.std(at::IntArrayRef{1}, /*unbiased=*/true) /
                                          std::sqrt(static_cast<double>(probes))
                                    : at::full_like(out.log_density, std::nan(""));
  return out;
}

Tensor dequantise(const Tensor& x0, uint64_t seed, int64_t first) {
  const Tensor u = at::empty(x0.sizes(), at::kFloat);
  float* out = u.data_ptr<float>();
  const int64_t N = x0.size(0), D = N > 0 ? x0.numel() / N : 0;
  for (int64_t i = 0; i < N; ++i) {
    Rng rng(seed, stream_of("dequantise", first + i));
    for (int64_t d = 0; d < D; ++d) *out++ = static_cast<float>(rng.uniform());
  }
  return x0.to(at::kFloat) + (u.to(x0.device()) - 0.5) * kPixelWidth;  // FPP Sec. 3.1
}

Tensor density_bits_per_dim(const Tensor& log_density, int64_t D, double d) {
  const Tensor bits = -log_density / std::numbers::ln2;
  return bits / static_cast<double>(D) - std::log2(d);  // FPP Sec. 3.1
}

}  // namespace tweedie

#include "tweedie/process/bound.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "tweedie/core/beside.h"
#include "tweedie/core/error.h"
#include "tweedie/process/config_json.h"
#include "tweedie/process/gaussian.h"
#include "tweedie/process/options.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/reverse_variance.h"

namespace tweedie {
namespace {

// table[k] as [N,1,1,1], beside x.
Tensor at_steps(const Tensor& table, const Tensor& k, const Tensor& x) {
  return beside(table.to(k.device()).index_select(0, k), x).to(x.device());
}

}  // namespace

VariationalBound::VariationalBound(std::vector<Level> levels, const std::string& variance_type,
                                   Decoder decoder, std::optional<double> data_variance,
                                   std::optional<double> initial_std)
    : size_(static_cast<int64_t>(levels.size()) - 1),
      variance_type_(variance_type),
      decoder_(decoder) {
  if (size_ < 1 || levels.back().sigma != 0)
    fail("[process] the variational bound needs a chain that ends at the data");
  const std::vector<std::string> known = variance_types();
  if (std::find(known.begin(), known.end(), variance_type) == known.end())
    fail_unknown("variance_type", variance_type, known);
  noisiest_ = levels.front();
  initial_std_ = initial_std.value_or(noisiest_.alpha < 1 ? 1 : noisiest_.sigma);
  const std::vector<Level> rising(levels.rbegin(), levels.rend());  // rising[0] is the data
  std::vector<double> t, c0, log_beta, log_beta_tilde;
  for (int64_t k = 0; k < size_; ++k) {
    const Level &at = rising[k + 1], &next = rising[k];
    const Posterior q = posterior(at, next);
    t.push_back(at.t);
    c0.push_back(q.c0);
    log_beta.push_back(std::log(step_variance(at, next)));
    log_beta_tilde.push_back(std::log(q.variance));
  }
  // The step to the data has no posterior variance: the next one's stands in (IDDPM's code).
  log_beta_tilde[0] = size_ > 1 ? log_beta_tilde[1] : log_beta[0];
  if (variance_type.starts_with("fixed_large")) log_beta[0] = log_beta_tilde[0];  // DDPM's code
  if (data_variance && variance_type.starts_with("fixed"))
    log_beta[0] = log_beta_tilde[0] = std::log(*data_variance);
  timesteps_ = at::tensor(t, at::kDouble);
  c0_ = at::tensor(c0, at::kDouble);
  log_beta_ = at::tensor(log_beta, at::kDouble);
  log_beta_tilde_ = at::tensor(log_beta_tilde, at::kDouble);
}

Tensor VariationalBound::prior(const Tensor& x0) const {
  const Tensor mean = noisiest_.alpha * x0.to(at::kDouble), zero = at::zeros({}, mean.options());
  const Tensor log_variance = at::full({}, 2 * std::log(noisiest_.sigma), mean.options());
  const Tensor start = at::full({}, 2 * std::log(initial_std_), mean.options());
  return bits_per_dim(kl_divergence({mean, log_variance}, {zero, start}));  // DDPM Eq. 5
}

Tensor VariationalBound::log_variance(const Estimate& e, const Tensor& x0, const Tensor& k) const {
  Estimate wide = e;
  if (e.log_variance.defined()) wide.log_variance = e.log_variance.to(at::kDouble);
  return log_reverse_variance(variance_type_, wide, at_steps(log_beta_, k, x0),
                              at_steps(log_beta_tilde_, k, x0));
}

Tensor VariationalBound::decoder_term(const Estimate& e, const Tensor& x0,
                                      const Tensor& log_variance) const {
  const Tensor mean = e.x0.to(at::kDouble);  // c0 = 1, c1 = 0
  if (decoder_ == Decoder::kContinuous) return -log_density({mean, log_variance}, x0);
  const Cdf cdf = decoder_ == Decoder::kDiscretisedTanh ? Cdf::kTanh : Cdf::kExact;
  return -discretised_log_likelihood(x0, mean, 0.5 * log_variance, cdf);  // DDPM Eq. 13
}

Tensor VariationalBound::term(const Estimate& e, const Tensor& x0, const Tensor& k) const {
  const Tensor x = x0.to(at::kDouble), model = log_variance(e, x0, k);
  const Tensor off = at_steps(c0_, k, x0) * (x - e.x0.to(at::kDouble));           // c1 x_k cancels
  const Tensor kl = kl_divergence(off, at_steps(log_beta_tilde_, k, x0), model);  // DDPM Eq. 5
  const Tensor first = k.to(x0.device()).eq(0);
  if (!first.any().item<bool>()) return bits_per_dim(kl + at::zeros_like(x));
  const Tensor decoder = bits_per_dim(decoder_term(e, x, model));
  return at::where(first, decoder, bits_per_dim(kl + at::zeros_like(x)));
}

Tensor VariationalBound::monte_carlo_term(const Estimate& e, const Tensor& x0, const Tensor& k,
                                          const Tensor& z) const {
  const Tensor zero = at::zeros({}, at::TensorOptions(at::kDouble).device(x0.device()));
  const Gaussian q{zero, at_steps(log_beta_tilde_, k, x0)};  // around q's mean
  const Tensor off = at_steps(c0_, k, x0) * (x0.to(at::kDouble) - e.x0.to(at::kDouble));
  const Gaussian p{-off, log_variance(e, x0, k)};
  const Tensor x = draw(q, z.to(at::kDouble));
  return bits_per_dim(log_density(q, x) - log_density(p, x));  // DDPM Eq. 3
}

std::optional<double> data_variance(const ProcessOptions& process, const Level& first,
                                    Decoder decoder) {
  const bool table = process.path == "vp" && betas_have_name(process);
  if (table && decoder != Decoder::kContinuous) return {};
  return std::pow(first.sigma / first.alpha, 2);  // VDM Sec. 3
}

VariationalBound bound_along(const Process& process, const std::vector<Level>& levels,
                             Decoder decoder) {
  const ProcessOptions& options = process.options();
  return {levels, options.variance_type, decoder, data_variance(options, levels.end()[-2], decoder),
          process.initial_std(levels.front())};
}

}  // namespace tweedie

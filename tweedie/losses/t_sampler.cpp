#include "tweedie/losses/t_sampler.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace tweedie {
namespace {

constexpr int64_t kHistory = 10;
constexpr double kUniformShare = 1e-3;

}  // namespace

TimestepSampler::TimestepSampler(const ObjectiveOptions& options, const Schedule& schedule)
    : name_(options.t_sampler),
      mean_(options.t_mean.value_or(name_ == "log_normal" ? -1.2 : 0)),
      std_(options.t_std.value_or(name_ == "log_normal" ? 1.2 : 1)),
      T_(schedule.size()) {
  const std::vector<std::string> known = t_samplers();
  if (std::find(known.begin(), known.end(), name_) == known.end())
    fail_unknown("t_sampler", name_, known);
  if ((options.t_mean || options.t_std) && name_ != "log_normal" && name_ != "logit_normal")
    fail(
        "[losses] t_mean and t_std: the t_sampler {} does not heed them; those that do: "
        "log_normal, logit_normal",
        name_);
  for (int64_t k = 0; k < T_; ++k) {
    const Level at = schedule.level(k);
    log_ratio_.push_back(std::log(at.sigma / at.alpha));
  }
  if (name_ == "log_normal" && std::isinf(log_ratio_.back()))
    fail(
        "[losses] t_sampler log_normal never draws the last step, which is noise alone: use "
        "logit_normal or uniform");
  if (name_ != "loss_second_moment") return;
  history_ = at::zeros({T_, kHistory}, at::kDouble);
  counts_ = at::zeros({T_}, at::kLong);
}

TimestepSampler::Drawn TimestepSampler::draw(int64_t i, int64_t n, Rng& rng) const {
  const auto below_T = [this](double t) {
    return std::clamp<int64_t>(static_cast<int64_t>(std::floor(t)), 0, T_ - 1);
  };
  const double T = static_cast<double>(T_);
  if (name_ == "stratified")
    return {below_T(T * (static_cast<double>(i) + rng.uniform()) / static_cast<double>(n)), 1};
  if (name_ == "logit_normal")
    return {below_T(T / (1 + std::exp(-(mean_ + std_ * rng.normal())))), 1};  // SD3 Eq. 19
  if (name_ == "log_normal") {
    const double wanted = mean_ + std_ * rng.normal();  // EDM Table 1
    const auto above = std::lower_bound(log_ratio_.begin(), log_ratio_.end(), wanted);
    int64_t t = std::min<int64_t>(above - log_ratio_.begin(), T_ - 1);
    if (t > 0 && wanted - log_ratio_[t - 1] < log_ratio_[t] - wanted) --t;  // the nearest
    return {t, 1};
  }
  if (cumulative_.empty()) return {static_cast<int64_t>(rng.below(T_)), 1};  // DDPM Alg. 1, line 3
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), rng.uniform());
  const int64_t t = std::min<int64_t>(found - cumulative_.begin(), T_ - 1);
  return {t, 1 / (T * probability_[t])};  // IDDPM Eq. 18
}

void TimestepSampler::update(const Tensor& t, const Tensor& losses) {
  if (!has_state()) return;
  const Tensor steps = t.cpu(), values = losses.detach().to(at::kCPU, at::kDouble);
  auto history = history_.accessor<double, 2>();
  auto counts = counts_.accessor<int64_t, 1>();
  for (int64_t i = 0; i < steps.numel(); ++i) {
    const int64_t k = steps[i].item<int64_t>();
    const double value = values[i].item<double>();
    if (counts[k] < kHistory) {
      history[k][counts[k]++] = value;
      continue;
    }
    for (int64_t j = 1; j < kHistory; ++j) history[k][j - 1] = history[k][j];
    history[k][kHistory - 1] = value;
  }
  weigh();
}

void TimestepSampler::weigh() {
  if (counts_.min().item<int64_t>() < kHistory) return;
  const Tensor moment = history_.square().mean(1).sqrt();
  const Tensor p = (1 - kUniformShare) * moment / moment.sum().clamp_min(1e-300) +
                   kUniformShare / static_cast<double>(T_);
  probability_.assign(p.data_ptr<double>(), p.data_ptr<double>() + T_);  // IDDPM Eq. 18
  const Tensor sum = p.cumsum(0);
  cumulative_.assign(sum.data_ptr<double>(), sum.data_ptr<double>() + T_);
}

void TimestepSampler::load(const Tensor& history, const Tensor& counts) {
  if (history.sizes() != history_.sizes() || counts.sizes() != counts_.sizes())
    fail("[losses] the t_sampler's history is [{}]: expected [{}]", fmt::join(history.sizes(), ","),
         fmt::join(history_.sizes(), ","));
  history_ = history.to(at::kDouble).clone();
  counts_ = counts.to(at::kLong).clone();
  weigh();
}

}  // namespace tweedie

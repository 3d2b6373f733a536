#include "tweedie/losses/loss.h"

#include <ATen/ATen.h>

#include "tweedie/losses/simple.h"
#include "tweedie/losses/weighting.h"

namespace tweedie {
namespace {

// A clipped estimate has no gradient where it is wrong most.
ProcessOptions without_clipping(ProcessOptions options) {
  options.clip_sample = options.thresholding = false;
  options.set_alpha_to_one = true;  // the bound's chain ends at the data
  return options;
}

bool learned(const ProcessOptions& options) { return options.variance_type.starts_with("learned"); }

}  // namespace

Loss::Loss(ObjectiveOptions options, const Process& process, Decoder decoder)
    : options_(std::move(options)), process_(without_clipping(process.options())) {
  const Schedule& schedule = process_.schedule();
  if (options_.loss == "hybrid" && !learned(process.options()))
    fail("[losses] loss hybrid trains a variance: process.variance_type is {}; use learned_range",
         process.options().variance_type);
  if (options_.loss == "simple" && learned(process.options()))
    fail(
        "[losses] loss simple does not train the variance of process.variance_type {}: use hybrid "
        "or vlb",
        process.options().variance_type);
  if (options_.loss == "vlb" && (options_.weighting != "none" || options_.distance != "l2"))
    fail("[losses] loss vlb has weights and a distance of its own: weighting is {} and distance {}",
         options_.weighting, options_.distance);
  if (options_.loss != "simple")
    bound_ = bound_along(process_, process_.levels(schedule.size(), "leading", 0), decoder);
  Tensor snr = at::empty({schedule.size()}, at::kDouble);
  for (int64_t k = 0; k < schedule.size(); ++k) snr[k] = schedule.snr(k);
  weight_ =
      loss_weight(options_, process.options().prediction_type, snr, process.options().sigma_data);
}

Tensor Loss::simple(const Tensor& output, const Noised& noised) const {
  const Tensor mean = output.narrow(1, 0, noised.x0.size(1));
  const Tensor target = process_.target(noised.x0, noised.eps, noised.t);
  const Tensor error = options_.distance == "l2"   ? simple_loss(mean, target)
                       : options_.distance == "l1" ? absolute_loss(mean, target)
                                                   : huber_loss(mean, target, options_.huber_delta);
  if (options_.weighting == "none") return error;
  return error * weight_.to(noised.t.device()).index_select(0, noised.t).to(error.options());
}

Tensor Loss::vlb(const Tensor& output, const Noised& noised, bool hold_mean) const {
  Estimate e = process_.estimate(output, noised.x_t, noised.t);
  if (hold_mean) e.x0 = e.x0.detach();  // IDDPM Eq. 16
  const double T = static_cast<double>(bound_->size());
  return (T * bound_->term(e, noised.x0, noised.t)).to(at::kFloat);  // IDDPM Eq. 18
}

Tensor Loss::operator()(const Tensor& output, const Noised& noised) const {
  if (options_.loss == "vlb") return vlb(output, noised, /*hold_mean=*/false);
  const Tensor simple = this->simple(output, noised);
  if (options_.loss == "simple") return simple;
  return simple + options_.vlb_weight * vlb(output, noised, /*hold_mean=*/true);  // IDDPM Eq. 16
}

}  // namespace tweedie

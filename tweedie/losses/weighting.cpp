#include "tweedie/losses/weighting.h"

#include <ATen/ATen.h>

#include "tweedie/process/options.h"

namespace tweedie {
namespace {

// Weights of |eps - E|^2: what |x_0 - X|^2 = |eps - E|^2 / SNR gets, times 1/SNR.
Tensor weight_of_eps(const ObjectiveOptions& o, const Tensor& snr) {
  if (o.weighting == "snr") return at::ones_like(snr);                        // DDPM Eq. 14
  if (o.weighting == "snr_plus_one") return 1 + 1 / snr;                      // PD Sec. 4
  if (o.weighting == "truncated_snr") return (1 / snr).clamp_min(1);          // PD Sec. 4
  if (o.weighting == "min_snr") return (o.min_snr_gamma / snr).clamp_max(1);  // MinSNR Sec. 3.4
  if (o.weighting == "p2") return (o.p2_k + snr).pow(-o.p2_gamma);            // P2 Sec. 3
  fail_unknown("weighting", o.weighting, weightings());
}

Tensor weight_of_x0(const ObjectiveOptions& o, const Tensor& snr) {
  if (o.weighting == "snr") return snr;                                   // DDPM Eq. 14
  if (o.weighting == "snr_plus_one") return 1 + snr;                      // PD Sec. 4
  if (o.weighting == "truncated_snr") return snr.clamp_min(1);            // PD Sec. 4
  if (o.weighting == "min_snr") return snr.clamp_max(o.min_snr_gamma);    // MinSNR Sec. 3.4
  if (o.weighting == "p2") return snr * (o.p2_k + snr).pow(-o.p2_gamma);  // P2 Sec. 3
  fail_unknown("weighting", o.weighting, weightings());
}

}  // namespace

Tensor loss_weight(const ObjectiveOptions& options, const std::string& prediction_type,
                   const Tensor& snr, double sigma_data) {
  if (options.weighting == "none") return at::ones_like(snr);
  if (prediction_type == "sample") return weight_of_x0(options, snr);
  if (prediction_type == "v_prediction")
    return weight_of_x0(options, snr) / (1 + snr);  // PD Sec. 4
  if (prediction_type == "flow_prediction")
    return weight_of_x0(options, snr) / (1 + snr.sqrt()).square();  // FM Sec. 4
  if (prediction_type == "edm") {
    const double data = sigma_data * sigma_data;
    return weight_of_x0(options, snr) * data / (1 + data * snr);  // EDM Eq. 8
  }
  if (prediction_type != "epsilon")
    fail_unknown("prediction_type", prediction_type, prediction_types());
  const Tensor weight = weight_of_eps(options, snr);
  if (!weight.isfinite().all().item<bool>())
    fail(
        "[losses] weighting {} is infinite where the schedule leaves no signal: use v_prediction "
        "or sample",
        options.weighting);
  return weight;
}

}  // namespace tweedie

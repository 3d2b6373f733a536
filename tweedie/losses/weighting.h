// How much each noise level counts in L_simple.
#pragma once
#include <ATen/core/Tensor.h>

#include "tweedie/losses/objective.h"

namespace tweedie {

using at::Tensor;

/// The factor of the squared error of the network's prediction (prediction_type's own space), for
/// SNR = alpha^2/sigma^2, any shape, float64; finite also at SNR 0. "none" is 1 for every
/// prediction; the others name a weight of |x_0 - X|^2 and mean the same loss for every prediction
/// (sources: snr DDPM Eq. 14; snr_plus_one and truncated_snr PD Sec. 4; min_snr MinSNR Sec. 3.4;
/// p2 P2 Sec. 3). Throws Error for unknown names.
Tensor loss_weight(const ObjectiveOptions& options, const std::string& prediction_type,
                   const Tensor& snr, double sigma_data = 0.5);

}  // namespace tweedie

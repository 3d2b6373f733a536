// The arithmetic of the network: float32, or bfloat16 through autocast with float32 weights.
#pragma once
#include <ATen/autocast_mode.h>

#include <string>

#include "tweedie/core/progress.h"

namespace tweedie {

/// "fp32" or "bf16". "auto" times a small convolution in both, forward and backward, picks the
/// faster and says so.
std::string resolve_precision(const std::string& precision, at::Device device,
                              const NoticeFn& notice);

/// Convolutions and products under it run in bfloat16 if `precision` is "bf16"; what they return is
/// bfloat16. The casts of weights that it keeps are dropped when it ends.
class Autocast {
 public:
  Autocast(const std::string& precision, at::Device device);
  ~Autocast();
  Autocast(const Autocast&) = delete;

 private:
  at::DeviceType device_;
  bool on_, was_on_ = false;
  at::ScalarType was_type_ = at::kBFloat16;
};

}  // namespace tweedie

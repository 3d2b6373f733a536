#include "tweedie/losses/simple.h"

#include <ATen/ATen.h>

#include "tweedie/core/error.h"

namespace tweedie {

Tensor simple_loss(const Tensor& output, const Tensor& target) {
  if (output.sizes() != target.sizes())
    fail("[losses] the network gives [{}] and the target is [{}]", fmt::join(output.sizes(), ","),
         fmt::join(target.sizes(), ","));
  return at::mse_loss(output, target, at::Reduction::None).flatten(1).mean(1);  // DDPM Eq. 14
}

}  // namespace tweedie

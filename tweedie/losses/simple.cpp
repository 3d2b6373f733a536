#include "tweedie/losses/simple.h"

#include <ATen/ATen.h>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

void require_one_shape(const Tensor& output, const Tensor& target) {
  if (output.sizes() != target.sizes())
    fail("[losses] the network gives [{}] and the target is [{}]", fmt::join(output.sizes(), ","),
         fmt::join(target.sizes(), ","));
}

Tensor over_each(const Tensor& error) { return error.flatten(1).mean(1); }

}  // namespace

Tensor simple_loss(const Tensor& output, const Tensor& target) {
  require_one_shape(output, target);
  return over_each(at::mse_loss(output, target, at::Reduction::None));  // DDPM Eq. 14
}

Tensor absolute_loss(const Tensor& output, const Tensor& target) {
  require_one_shape(output, target);
  return over_each(at::l1_loss(output, target, at::Reduction::None));
}

Tensor huber_loss(const Tensor& output, const Tensor& target, double delta) {
  require_one_shape(output, target);
  return over_each(at::huber_loss(output, target, at::Reduction::None, delta));
}

}  // namespace tweedie

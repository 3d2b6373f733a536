#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

/// A number for each example, [N] or [1] for all, as [N,1,..] so that it stands beside x [N,..].
inline at::Tensor beside(const at::Tensor& each, const at::Tensor& x) {
  std::vector<int64_t> shape(x.dim(), 1);
  shape[0] = -1;
  return each.view(shape);
}

}  // namespace tweedie

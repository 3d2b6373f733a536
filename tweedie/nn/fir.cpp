#include "tweedie/nn/fir.h"

#include <ATen/ATen.h>

namespace tweedie {
namespace {

// outer([1,3,3,1]) * gain / 64, one copy a channel.
Tensor kernel(const Tensor& x, double gain) {
  const Tensor row = at::tensor({1.0, 3.0, 3.0, 1.0}).to(x.options());
  return (at::outer(row, row) * (gain / 64)).expand({x.size(1), 1, 4, 4}).contiguous();
}

}  // namespace

Tensor fir_down(const Tensor& x) {
  return at::conv2d(x, kernel(x, 1), {}, /*stride=*/{2, 2}, /*padding=*/{1, 1}, /*dilation=*/{1, 1},
                    x.size(1));
}

// Zeros between the pixels, then the filter with gain 4: what a transposed convolution is.
Tensor fir_up(const Tensor& x) {
  return at::conv_transpose2d(x, kernel(x, 4), {}, /*stride=*/{2, 2}, /*padding=*/{1, 1},
                              /*output_padding=*/{0, 0}, x.size(1));
}

}  // namespace tweedie

#include "tweedie/kernels/conv_patches.h"

#include <ATen/ATen.h>

#include "tweedie/kernels/group_norm.h"
#include "tweedie/kernels/matmul.h"
#include "tweedie/kernels/record.h"

namespace tweedie {

Tensor conv_patches(const Tensor& x, const Tensor& weight, const Tensor& bias, int64_t stride,
                    int64_t padding, WeightCache& cache) {
  const int64_t out = weight.size(0);
  const kernels::PatchShape shape{x.size(0),      x.size(2), x.size(3), x.size(1),
                                  weight.size(2), stride,    padding};
  const int64_t height = shape.side(shape.h), width = shape.side(shape.w);
  if (at::GradMode::is_enabled() || !runs_on_kernels(x) || !runs_on_kernels(weight) ||
      weight.size(1) != shape.c || weight.size(3) != shape.kernel || height < 1 || width < 1) {
    cache.drop();  // the weights are about to change
    return at::conv2d(x, weight, bias, {stride, stride}, {padding, padding});
  }
  const Tensor packed = cache.find(weight, [&] {
    const Tensor w = weight.permute({0, 2, 3, 1}).reshape({out, shape.depth()});
    Tensor to = at::empty({kernels::matmul_weight_size(shape.depth(), out)}, w.options());
    kernels::matmul_weights(w.data_ptr<float>(), {w.stride(0), w.stride(1)}, shape.depth(), out,
                            to.data_ptr<float>(), kernels::on_torch_threads);
    return to;
  });
  const Tensor from = channels_last(x), sum = bias.defined() ? bias.contiguous() : bias;
  Tensor y = at::empty({shape.n, out, height, width},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  RECORD_FUNCTION(
      shape.kernel == 3 && stride == 1 ? "tweedie::conv3x3_patches" : "tweedie::conv_patches",
      flop(2.0 * double(y.numel()) * double(shape.depth())));
  kernels::matmul_patches(shape, out, from.data_ptr<float>(), packed.data_ptr<float>(),
                          sum.defined() ? sum.data_ptr<float>() : nullptr, y.data_ptr<float>(),
                          kernels::on_torch_threads);
  return y;
}

}  // namespace tweedie

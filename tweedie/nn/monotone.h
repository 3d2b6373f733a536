// The network behind a trained noise schedule: a curve that can only rise (VDM arXiv 2107.00630).
#pragma once
#include "tweedie/nn/layers.h"

namespace tweedie {

/// g(t) = -ln SNR(t) for t in [0,1], rising from g0 to g1:
///   g(t) = g0 + (g1 - g0) (h(t) - h(0)) / (h(1) - h(0))
///   h(t) = w t + sum_j v_j sigmoid(u_j t + b_j),  w, u, v > 0 as softplus of what is stored.
/// Everything is float64.
class MonotoneImpl : public LayerImpl {
 public:
  /// `width` sigmoids, drawn by `seed`. Throws Error unless g0 < g1, both finite, and width >= 1.
  MonotoneImpl(double g0, double g1, int64_t width, uint64_t seed = 0);
  /// t of any shape, float64; g of that shape.
  Tensor forward(const Tensor& t) const;
  /// The sigmoids' places spread over [0,1], of various steepness; h is nearly a straight line.
  void draw(Rng rng) override;

  std::vector<Tensor> end_points() const { return {g0, g1}; }
  std::vector<Tensor> shape() const { return {skip, slope, bias, height}; }
  Tensor g0, g1;                     // of one number each
  Tensor skip, slope, bias, height;  // w before its softplus; u, b and v, [width]

 private:
  Tensor h(const Tensor& t) const;
};
TORCH_MODULE(Monotone);

}  // namespace tweedie

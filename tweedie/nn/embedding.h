// How the network hears of the time and the class.
#pragma once
#include "tweedie/nn/layers.h"

namespace tweedie {

/// One value, or one for each of the n examples of x, as [n] on its device; `what` is named where
/// it is neither.
Tensor spread(const char* what, const Tensor& values, const Tensor& x);
/// Throws Error (user) for an index outside a table of `count` rows; on a GPU none is looked at.
void check_range(const char* what, const Tensor& index, int64_t count);

/// Sines and cosines of t at `width`/2 frequencies from 1 down to about 1e-4; "Attention is all you
/// need", 3.5. t [N] of any type -> [N,width] float32: [sin, cos], or [cos, sin] if flipped, a zero
/// if width is odd.
Tensor sinusoid(const Tensor& t, int64_t width, bool flip_sin_to_cos, int64_t freq_shift);

/// Random Fourier features of ln(sigma), frequencies N(0, 16^2), drawn once (Song et al. 2021,
/// NCSN++).
class FourierImpl : public LayerImpl {
 public:
  explicit FourierImpl(int64_t width);
  /// sigma [N] -> [N,2*width]: [sin, cos].
  Tensor forward(const Tensor& sigma) const;
  void draw(Rng rng) override;
  Tensor weight;  ///< [width], not trained
};
TORCH_MODULE(Fourier);

/// linear_2(silu(linear_1(x))).
class EmbeddingMlpImpl : public torch::nn::Module {
 public:
  EmbeddingMlpImpl(int64_t in, int64_t out);
  Tensor forward(const Tensor& x) const;

 private:
  Linear linear_1{nullptr}, linear_2{nullptr};
};
TORCH_MODULE(EmbeddingMlp);

}  // namespace tweedie

#include "tweedie/kernels/norm.h"

#include <cmath>
#include <functional>
#include <utility>

#include "tests/kernels/plain.h"

namespace tweedie::kernels {
namespace {

using namespace plain;

// What the kernels are given, and y.
struct Norm {
  NormShape shape;
  bool silu, scaled;
  Array x = noise(shape.n * shape.pixels * shape.c, 1), dy = noise(x.size(), 2);
  Array gamma = noise(shape.c, 3), beta = noise(shape.c, 4);
  Array scale = noise(shape.n * shape.c, 5), shift = noise(scale.size(), 6);

  Numbers y(const Numbers& of_x, const Numbers& of_gamma, const Numbers& of_beta) const {
    const auto& [n, pixels, c, groups] = shape;
    const int64_t width = c / groups;
    Numbers y(of_x.size());
    for (int64_t image = 0; image < n; ++image)
      for (int64_t g = 0; g < groups; ++g) {
        const auto each = [&](auto f) {
          for (int64_t p = 0; p < pixels; ++p)
            for (int64_t j = g * width; j < (g + 1) * width; ++j)
              f((image * pixels + p) * c + j, j);
        };
        double sum = 0, square = 0;
        each([&](int64_t i, int64_t) { sum += of_x[i]; });
        const double count = double(pixels * width), mean = sum / count;
        each([&](int64_t i, int64_t) { square += std::pow(of_x[i] - mean, 2); });
        each([&](int64_t i, int64_t j) {
          double z = (of_x[i] - mean) / std::sqrt(square / count + 1e-5) * of_gamma[j] + of_beta[j];
          if (scaled) z = z * (1 + scale.data()[image * c + j]) + shift.data()[image * c + j];
          y[i] = silu ? z / (1 + std::exp(-z)) : z;
        });
      }
    return y;
  }
};

TEST(PlainNorm, OutputAndGradients) {
  for (const NormShape& s : {NormShape{1, 34, 36, 9}, NormShape{2, 5, 6, 3},
                             NormShape{1, 3, 70, 35}, NormShape{1, 1, 4, 1}})
    for (const bool extras : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.c << " channels, extras " << extras);
      const int64_t beside = extras ? s.c / 3 : 0;
      const Norm norm{s, extras, extras};
      const NormParameters p{.gamma = norm.gamma.data(),
                             .beta = norm.beta.data(),
                             .scale = extras ? norm.scale.data() : nullptr,
                             .shift = extras ? norm.shift.data() : nullptr,
                             .eps = 1e-5f,
                             .silu = extras};
      Array mean(s.n * s.groups), rstd(mean.size()), sums(2 * s.n * s.c);
      Array y(norm.x.size()), dz(norm.x.size()), line(2 * s.n * s.c);
      const auto [own, more] = split(norm.x, s.c, beside);
      Array down(own.size()), dmore(more.size());
      const Images<const float> in{own.data(), more.data(), beside};
      norm_statistics(s, in, p.eps, mean.data(), rstd.data(), in_parts);
      norm_line(s, p, mean.data(), rstd.data(), line.data());
      norm_apply(s, in, line.data(), p.silu, y.data(), in_parts);
      norm_backward(s, p, in, mean.data(), rstd.data(), norm.dy.data(), dz.data(),
                    {down.data(), dmore.data(), beside}, sums.data(), in_parts);

      const Numbers x = norm.x.numbers(), gamma = norm.gamma.numbers(), beta = norm.beta.numbers();
      expect_close(y, norm.y(x, gamma, beta), 1e-6, "y");
      const auto loss = [&](const Numbers& x, const Numbers& gamma, const Numbers& beta) {
        return dot(norm.y(x, gamma, beta), norm.dy);
      };
      Array dx(x.size());
      for (int64_t i = 0; i < dx.size(); ++i) {
        const int64_t pixel = i / s.c, c = i % s.c, first = s.c - beside;
        dx.data()[i] =
            c < first ? down.data()[pixel * first + c] : dmore.data()[pixel * beside + c - first];
      }
      expect_close(dx, gradient([&](auto& to) { return loss(to, gamma, beta); }, x), 2e-6, "dx");
      // Of each image: the gradients of shift and of gamma (1 + scale).
      Array dgamma(s.c), dbeta(s.c);
      for (int64_t i = 0; i < s.n * s.c; ++i) {
        const float factor = extras ? 1 + norm.scale.data()[i] : 1;
        dbeta.data()[i % s.c] += factor * sums.data()[i];
        dgamma.data()[i % s.c] += factor * sums.data()[s.n * s.c + i];
      }
      expect_close(dgamma, gradient([&](auto& to) { return loss(x, to, beta); }, gamma), 2e-6,
                   "dgamma");
      expect_close(dbeta, gradient([&](auto& to) { return loss(x, gamma, to); }, beta), 2e-6,
                   "dbeta");
    }
}

}  // namespace
}  // namespace tweedie::kernels

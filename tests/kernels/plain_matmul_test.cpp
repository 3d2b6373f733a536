#include "tweedie/kernels/matmul.h"

#include "tests/kernels/plain.h"

namespace tweedie::kernels {
namespace {

using namespace plain;

TEST(PlainMatmul, OutputAndGradients) {
  for (const MatmulShape& s : {MatmulShape{1, 1, 1}, MatmulShape{7, 16, 32},
                               MatmulShape{50, 5, 150}, MatmulShape{300, 70, 90}}) {
    SCOPED_TRACE(testing::Message() << s.rows << " rows, " << s.in << " -> " << s.out);
    const Array x = noise(s.rows * s.in, 1), w = noise(s.out * s.in, 2), bias = noise(s.out, 3);
    const Array residual = noise(s.rows * s.out, 4);
    Array packed(matmul_weight_size(s.in, s.out)), y(s.rows * s.out);
    matmul_weights(w.data(), {s.in, 1}, s.in, s.out, packed.data(), in_parts);
    const int64_t extra = s.in / 3;
    const auto [own, beside] = split(x, s.in, extra);
    matmul(s, {own.data(), beside.data(), extra}, packed.data(), bias.data(), residual.data(),
           y.data(), in_parts);
    Numbers sums = residual.numbers();
    for (int64_t i = 0; i < y.size(); ++i) {
      const float *row = x.data() + i / s.out * s.in, *column = w.data() + i % s.out * s.in;
      sums[i] += bias.data()[i % s.out];
      for (int64_t j = 0; j < s.in; ++j) sums[i] += double(row[j]) * column[j];
    }
    expect_close(y, sums, 1e-6, "y");

    const Array dy = noise(s.rows * s.out, 5);
    Array dw(w.size());
    matmul_weight_gradient(s, {own.data(), beside.data(), extra}, dy.data(), dw.data(), in_parts);
    Numbers products(dw.size());
    for (int64_t i = 0; i < dw.size(); ++i)
      for (int64_t r = 0; r < s.rows; ++r)
        products[i] += double(dy.data()[r * s.out + i / s.in]) * x.data()[r * s.in + i % s.in];
    expect_close(dw, products, 1e-6, "dw");
    // dx = dy w, in two parts too.
    Array back(matmul_weight_size(s.out, s.in)), dx(x.size());
    matmul_weights(w.data(), {1, s.in}, s.out, s.in, back.data(), in_parts);
    matmul({s.rows, s.out, s.in}, {dy.data()}, back.data(), nullptr, nullptr, dx.data(), in_parts);
    Numbers of_x(dx.size());
    for (int64_t i = 0; i < dx.size(); ++i)
      for (int64_t k = 0; k < s.out; ++k)
        of_x[i] += double(dy.data()[i / s.in * s.out + k]) * w.data()[k * s.in + i % s.in];
    expect_close(dx, of_x, 1e-6, "dx");
  }
}

// dx and dw of a convolution, by its sums.
TEST(PlainMatmul, GradientsOfPatches) {
  for (const PatchShape& s : {PatchShape{1, 8, 8, 40, 3, 1, 1}, PatchShape{2, 4, 5, 33, 3, 1, 1},
                              PatchShape{3, 7, 6, 20, 3, 2, 1}, PatchShape{1, 5, 5, 70, 2, 1, 0}}) {
    const int64_t out = 37, height = s.side(s.h), width = s.side(s.w);
    SCOPED_TRACE(testing::Message() << s.n << " images " << s.h << "x" << s.w << ", " << s.c);
    const Array x = noise(s.n * s.h * s.w * s.c, 1), w = noise(out * s.depth(), 2);
    const Array dy = noise(s.n * height * width * out, 3);
    Array dx(x.size()), dw(w.size());
    patches_input_gradient(s, out, dy.data(), w.data(), dx.data(), in_parts);
    patches_filter_gradient(s, out, x.data(), dy.data(), dw.data(), in_parts);
    Numbers of_x(dx.size()), of_w(dw.size());
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t y = 0; y < height; ++y)
        for (int64_t z = 0; z < width; ++z)
          for (int64_t i = 0; i < s.kernel; ++i)
            for (int64_t j = 0; j < s.kernel; ++j) {
              const int64_t top = y * s.stride + i - s.padding, left = z * s.stride + j - s.padding;
              if (top < 0 || top >= s.h || left < 0 || left >= s.w) continue;
              for (int64_t o = 0; o < out; ++o)
                for (int64_t c = 0; c < s.c; ++c) {
                  const int64_t at = ((n * s.h + top) * s.w + left) * s.c + c;
                  const int64_t tap = ((o * s.kernel + i) * s.kernel + j) * s.c + c;
                  const double d = dy.data()[((n * height + y) * width + z) * out + o];
                  of_x[at] += d * w.data()[tap];
                  of_w[tap] += d * x.data()[at];
                }
            }
    expect_close(dx, of_x, 1e-6, "dx");
    expect_close(dw, of_w, 1e-6, "dw");
  }
}

}  // namespace
}  // namespace tweedie::kernels

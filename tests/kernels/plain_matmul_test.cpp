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

}  // namespace
}  // namespace tweedie::kernels

#include "tweedie/kernels/adamw.h"

#include <cmath>
#include <cstring>

#include "tests/kernels/plain.h"

namespace tweedie::kernels {
namespace {

using namespace plain;

// Loshchilov & Hutter 2019, Alg. 2, number by number.
TEST(PlainAdamW, FollowsTheEquations) {
  constexpr double kRate = 3e-3, kBeta1 = 0.9, kBeta2 = 0.99, kDecay = 0.05, kMean = 0.7;
  for (const int64_t size : {1, 3, 16, 21, 16384 + 5}) {
    SCOPED_TRACE(size);
    const Array start = noise(size, 1), g = noise(size, 2);
    Array p(size), m(size), v(size), e(size);
    std::memcpy(p.data(), start.data(), size * sizeof(float));
    std::memcpy(e.data(), start.data(), size * sizeof(float));
    const AdamWTensor tensor{size, p.data(), g.data(), m.data(), v.data(), e.data()};
    Numbers rp = start.numbers(), rm(size), rv(size), re = rp;
    double squares = 0;
    for (int64_t k = 1; k <= 3; ++k) {
      adamw({&tensor, 1}, {kRate, kBeta1, kBeta2, kDecay, 1e-8, k, 0.5, kMean}, in_parts);
      for (int64_t i = 0; i < size; ++i) {
        const double s = 0.5 * g.data()[i];
        rm[i] = kBeta1 * rm[i] + (1 - kBeta1) * s;
        rv[i] = kBeta2 * rv[i] + (1 - kBeta2) * s * s;
        const double m_hat = rm[i] / (1 - std::pow(kBeta1, k));
        const double v_hat = rv[i] / (1 - std::pow(kBeta2, k));
        rp[i] -= kRate * kDecay * rp[i] + kRate * m_hat / (std::sqrt(v_hat) + 1e-8);
        re[i] = kMean * re[i] + (1 - kMean) * rp[i];
        if (k == 1) squares += 4 * s * s;
      }
    }
    expect_close(p, rp, 1e-6, "p");
    expect_close(m, rm, 1e-6, "m");
    expect_close(v, rv, 1e-6, "v");
    expect_close(e, re, 1e-6, "e");
    EXPECT_NEAR(gradient_norm({&tensor, 1}, in_parts) / std::sqrt(squares), 1, 1e-12);
  }
}

}  // namespace
}  // namespace tweedie::kernels

#include "tweedie/kernels/norm.h"

#include "tests/kernels/support.h"

namespace tweedie::kernels {
namespace {

using at::Tensor;
using testing::distance;
using testing::in_two_parts;
using testing::noise;

// Everything in [N,pixels,C], as the kernels have it; the reference is group_norm in float64.
struct Case {
  Case(NormShape s, bool silu, bool scale_shift, double mean = 0, double spread = 1)
      : shape(s),
        x(noise({s.n, s.pixels, s.c}, 1) * spread + mean),
        dy(noise({s.n, s.pixels, s.c}, 2)),
        gamma(noise({s.c}, 3)),
        beta(noise({s.c}, 4)),
        scale(noise({s.n, s.c}, 5)),
        shift(noise({s.n, s.c}, 6)),
        silu(silu),
        scale_shift(scale_shift) {}

  void run() {
    const NormParameters p{.gamma = gamma.data_ptr<float>(),
                           .beta = beta.data_ptr<float>(),
                           .scale = scale_shift ? scale.data_ptr<float>() : nullptr,
                           .shift = scale_shift ? shift.data_ptr<float>() : nullptr,
                           .eps = 1e-5f,
                           .silu = silu};
    Tensor mean = at::empty({shape.n, shape.groups}), rstd = at::empty_like(mean);
    y = at::empty_like(x), dx = at::empty_like(x), sums = at::empty({2, shape.n, shape.c});
    const Tensor line = at::empty({2, shape.n, shape.c});
    const Images<const float> in{x.data_ptr<float>()};
    norm_statistics(shape, in, 1e-5f, mean.data_ptr<float>(), rstd.data_ptr<float>(), in_two_parts);
    norm_line(shape, p, mean.data_ptr<float>(), rstd.data_ptr<float>(), line.data_ptr<float>());
    norm_apply(shape, in, line.data_ptr<float>(), silu, y.data_ptr<float>(), in_two_parts);
    norm_backward(shape, p, in, mean.data_ptr<float>(), rstd.data_ptr<float>(),
                  dy.data_ptr<float>(), dx.data_ptr<float>(), {dx.data_ptr<float>()},
                  sums.data_ptr<float>(), in_two_parts);
  }

  void expect_close(double tolerance) {
    run();
    const auto leaf = [](const Tensor& t) { return t.to(at::kDouble).requires_grad_(true); };
    const Tensor rx = leaf(x), rg = leaf(gamma), rb = leaf(beta), rs = leaf(scale),
                 rt = leaf(shift);
    Tensor z = at::group_norm(rx.transpose(1, 2), shape.groups, rg, rb, 1e-5).transpose(1, 2);
    if (scale_shift) z = z * (1 + rs.unsqueeze(1)) + rt.unsqueeze(1);
    const Tensor reference = silu ? at::silu(z) : z;
    reference.backward(dy.to(at::kDouble));
    EXPECT_LT(distance(y, reference.detach()), tolerance);
    EXPECT_LT(distance(dx, rx.grad()), tolerance);
    // What follows from the two sums.
    const Tensor dz = sums[0], dzx = sums[1], w = scale_shift ? 1 + scale : at::ones_like(scale);
    EXPECT_LT(distance((w * dzx).sum(0), rg.grad()), tolerance);
    EXPECT_LT(distance((w * dz).sum(0), rb.grad()), tolerance);
    if (!scale_shift) return;
    EXPECT_LT(distance(gamma * dzx + beta * dz, rs.grad()), tolerance);
    EXPECT_LT(distance(dz, rt.grad()), tolerance);
  }

  NormShape shape;
  Tensor x, dy, gamma, beta, scale, shift, y, dx, sums;
  bool silu, scale_shift;
};

}  // namespace

TEST(Norm, ForwardAndGradientsAgreeWithFloat64) {
  for (const NormShape& s : {NormShape{2, 49, 64, 32},
                             {1, 1024, 128, 32},
                             {3, 16, 384, 32},
                             {2, 25, 12, 3},
                             {1, 7, 35, 5},
                             {2, 9, 8, 8},
                             {1, 36, 200, 1}})
    for (const bool silu : {false, true})
      for (const bool scale_shift : {false, true}) {
        SCOPED_TRACE(formatted("{}x{}x{} in {}, silu {}, scale {}", s.n, s.pixels, s.c, s.groups,
                               silu, scale_shift));
        Case(s, silu, scale_shift).expect_close(2e-6);
      }
}

TEST(Norm, ALargeMeanCancelsNothing) {
  // float32 holds 1000 + noise to 6e-5: what is left is the rounding of the input, not of the sums.
  Case(NormShape{2, 256, 64, 32}, true, false, 1000, 1).expect_close(1e-4);
}

TEST(Norm, TinySpreadIsHeldByEps) {
  Case c(NormShape{1, 64, 32, 8}, false, false, 0, 1e-8);
  c.run();
  EXPECT_TRUE(c.y.isfinite().all().item<bool>());
  EXPECT_LT((c.y - c.beta).abs().max().item<float>(), 1e-4);
}

TEST(Norm, SiluIsRightFarFromZeroAndNaNStays) {
  Case c(NormShape{1, 4, 16, 16}, true, false);
  c.gamma.fill_(1e4);
  c.run();
  EXPECT_TRUE(c.y.isfinite().all().item<bool>());
  EXPECT_GE(c.y.min().item<float>(), -0.3f);
  c.x[0][1][5] = std::nan("");
  c.run();
  EXPECT_TRUE(c.y[0][2][5].isnan().item<bool>()) << "its group is spoilt";
  EXPECT_TRUE(c.y[0][1][6].isfinite().item<bool>()) << "another is not";
}

}  // namespace tweedie::kernels

#include "tweedie/kernels/linear.h"

#include "tests/kernels/support.h"

namespace tweedie {
namespace {

using namespace testing;  // NOLINT: the vocabulary of these tests

constexpr double kTolerance = 1e-6, kOfStock = 2;  // twice what LibTorch reaches in float32

struct Shape {
  std::vector<int64_t> rows;
  int64_t in, out, beside = 0;
};

enum Input { kX, kWeight, kBias, kBeside, kResidual };

Case make(const Shape& s, bool residual, uint64_t seed = 1) {
  const auto sizes = [&](int64_t last) {
    std::vector<int64_t> of = s.rows;
    of.push_back(last);
    return of;
  };
  Case c{.what = formatted("[{}], {}+{} -> {}, residual {}", fmt::join(s.rows, ","),
                           s.in - s.beside, s.beside, s.out, residual),
         .names = {"x", "weight", "bias", "beside", "residual"}};
  c.inputs = {noise(sizes(s.in - s.beside), 10 * seed), noise({s.out, s.in}, 10 * seed + 1),
              noise({s.out}, 10 * seed + 2),
              s.beside > 0 ? noise(sizes(s.beside), 10 * seed + 3) : Tensor(),
              residual ? noise(sizes(s.out), 10 * seed + 4) : Tensor()};
  c.dy = noise(sizes(s.out), 10 * seed + 5);
  c.ours = [](const Tensors& t) {
    WeightCache cache;
    return linear(t[kX], t[kBeside], t[kWeight], t[kBias], t[kResidual], cache);
  };
  c.reference = [](const Tensors& t) {
    const Tensor x = t[kBeside].defined() ? at::cat({t[kX], t[kBeside]}, -1) : t[kX];
    const Tensor y = at::linear(x, t[kWeight], t[kBias]);
    return t[kResidual].defined() ? y + t[kResidual] : y;
  };
  return c;
}

// Around and far beyond the sizes of panels and blocks, few rows and many.
const Shape kShapes[] = {{{3}, 5, 7},
                         {{64}, 1, 1},
                         {{129}, 31, 33, 1},
                         {{2, 50}, 70, 150, 69},
                         {{4, 6, 11}, 64, 40, 32},
                         {{1000}, 130, 73, 65}};

}  // namespace

TEST(Linear, AgreesWithFloat64) {
  for (const Shape& s : kShapes)
    for (const bool residual : {false, true})
      expect_agreement(make(s, residual), kTolerance, kOfStock);
}

TEST(Linear, RandomShapesAndLayouts) {
  Rng rng(1);
  for (int i = 0; i < 60; ++i) {
    Shape s{{pick(rng, 1, 40), pick(rng, 1, 12)}, pick(rng, 2, 90), pick(rng, 1, 90)};
    if (i % 2) s.beside = pick(rng, 1, s.in - 1);
    Case c = make(s, i % 3 == 0, i);
    c.relayout(rng);
    expect_agreement(c, kTolerance, kOfStock);
  }
}

TEST(Linear, SeveralMatricesAreOneBelowTheOther) {
  const Tensor x = noise({80, 20}, 1), w = noise({30, 20}, 2), b = noise({30}, 3);
  const std::vector<Tensor> weights = w.split({7, 23}), biases = b.split({7, 23});
  for (const bool grad : {false, true}) {
    const at::AutoGradMode mode(grad);
    WeightCache cache;
    for (int call = 0; call < 2; ++call)
      EXPECT_LT(distance(linear(x, {}, weights, biases, {}, cache), at::linear(x, w, b)), 1e-6);
  }
}

TEST(Linear, EachGradientAlone) {
  for (const Shape& s : kShapes) expect_each_gradient_alone(make(s, true), 1e-5);
}

TEST(Linear, TheResultDoesNotDependOnTheThreads) {
  for (const Shape& s : kShapes) {
    const Case c = make(s, true);
    const auto run = [&](int threads) {
      const Threads guard(threads);
      return differentiate(c.ours, c.inputs, c.dy);
    };
    const Derived one = run(1), three = run(3);
    EXPECT_TRUE(at::equal(one.y, three.y)) << c.what;
    for (const Input i : {kX, kWeight})
      EXPECT_TRUE(at::equal(one.gradients[i], three.gradients[i])) << c.what << c.names[i];
  }
}

TEST(Linear, Derivatives) {
  for (const Shape& s : {Shape{{70}, 3, 2}, {{2, 3}, 4, 2, 1}, {{66}, 5, 3, 2}}) {
    const Case c = make(s, true);
    expect_finite_differences(c);
    expect_agreement(second_derivatives(c), 1e-5);
  }
}

TEST(Linear, ANaNIsNotLost) {
  for (size_t i = 0; i <= kResidual; ++i) {
    Case c = make({{70}, 40, 33, 9}, true);
    c.inputs[i].flatten()[5] = std::nan("");
    const Derived d = differentiate(c.ours, c.inputs, c.dy);
    const Derived stock = differentiate(c.reference, c.inputs, c.dy);
    EXPECT_TRUE(at::equal(d.y.isnan(), stock.y.isnan())) << c.names[i];
    for (size_t j = 0; j < c.inputs.size(); ++j)
      EXPECT_TRUE(at::equal(d.gradients[j].isnan(), stock.gradients[j].isnan())) << c.names[j];
  }
}

}  // namespace tweedie

#include "tweedie/kernels/conv_patches.h"

#include "tests/kernels/support.h"

namespace tweedie {
namespace {

using namespace testing;  // NOLINT: the vocabulary of these tests

struct Setting {
  int64_t n, in, out, height, width, kernel, stride, padding;
  std::string name() const {
    return formatted("{} images {}x{}, {} -> {}, kernel {}, stride {}, padding {}", n, height,
                     width, in, out, kernel, stride, padding);
  }
};

// Without autograd, the first time and with what the cache kept.
void expect_convolution(const Setting& s, const Tensor& x, const Tensor& w, const Tensor& b) {
  const at::NoGradGuard guard;
  const auto stock = [&](const Tensor& images, const Tensor& filter, const Tensor& bias) {
    return at::conv2d(images, filter, bias, {s.stride, s.stride}, {s.padding, s.padding});
  };
  const Tensor exact = stock(in_float64(x), in_float64(w), in_float64(b));
  const double most = std::max(1e-6, 2 * distance(stock(x, w, b), exact));
  WeightCache cache;
  for (int call = 0; call < 2; ++call) {
    const Tensor y = conv_patches(x, w, b, s.stride, s.padding, cache);
    ASSERT_EQ(y.sizes(), exact.sizes()) << s.name();
    EXPECT_LT(distance(y, exact), most) << s.name();
  }
}

Setting random(Rng& rng) {
  Setting s{pick(rng, 1, 5),  pick(rng, 1, 70), pick(rng, 1, 70), pick(rng, 1, 14),
            pick(rng, 1, 14), pick(rng, 1, 4),  pick(rng, 1, 3),  pick(rng, 0, 2)};
  s.height = std::max(s.height, s.kernel), s.width = std::max(s.width, s.kernel);
  return s;
}

}  // namespace

TEST(ConvPatches, RandomShapesAndLayouts) {
  Rng rng(1);
  for (uint64_t i = 0; i < 80; ++i) {
    const Setting s = random(rng);
    const auto laid = [&](const Tensor& t) { return in_layout(t, pick(rng, 0, kLayouts - 1)); };
    expect_convolution(s, laid(noise({s.n, s.in, s.height, s.width}, 3 * i)),
                       laid(noise({s.out, s.in, s.kernel, s.kernel}, 3 * i + 1)),
                       i % 3 ? laid(noise({s.out}, 3 * i + 2)) : Tensor());
  }
}

TEST(ConvPatches, ShapesOfNetworks) {
  for (const Setting& s : {Setting{2, 3, 128, 32, 32, 3, 1, 1}, Setting{2, 128, 3, 32, 32, 3, 1, 1},
                           Setting{1, 256, 256, 17, 17, 3, 2, 0},
                           Setting{3, 640, 70, 9, 9, 3, 2, 1}, Setting{1, 3, 8, 8, 8, 8, 8, 0}})
    expect_convolution(s, noise({s.n, s.in, s.height, s.width}, 1),
                       noise({s.out, s.in, s.kernel, s.kernel}, 2), noise({s.out}, 3));
}

TEST(ConvPatches, ThreadsAndTheBatchChangeNoBit) {
  const at::NoGradGuard guard;
  const Tensor x = noise({5, 40, 13, 13}, 1), w = noise({150, 40, 3, 3}, 2), b = noise({150}, 3);
  const auto run = [&](const Tensor& images, int threads) {
    const Threads with(threads);
    WeightCache cache;
    return conv_patches(images, w, b, 2, 1, cache);
  };
  const Tensor y = run(x, 1);
  EXPECT_TRUE(at::equal(run(x, 2), y));
  EXPECT_TRUE(at::equal(run(x, 5), y));
  EXPECT_TRUE(at::equal(run(x.narrow(0, 3, 1), 2), y.narrow(0, 3, 1)));
}

TEST(ConvPatches, NanIsSeenByTheOutputsThatReadIt) {
  const at::NoGradGuard guard;
  Tensor x = noise({1, 8, 9, 9}, 1);
  x[0][3][4][4] = std::nan("");
  WeightCache cache;
  const Tensor y = conv_patches(x, noise({33, 8, 3, 3}, 2), {}, 2, 1, cache).isnan().any(1)[0];
  EXPECT_EQ(y.sum().item<int64_t>(), 1);
  EXPECT_TRUE(y[2][2].item<bool>());
}

TEST(ConvPatches, HasGradientsAndForgetsTheFilterThen) {
  const Tensor x = noise({2, 6, 8, 8}, 1), w = noise({20, 6, 3, 3}, 2).requires_grad_();
  WeightCache cache;
  const auto run = [&] { return conv_patches(x, w, {}, 2, 1, cache); };
  const auto run_without = [&] {
    const at::NoGradGuard guard;
    return run();
  };
  run_without();
  run().sum().backward();
  ASSERT_TRUE(w.grad().defined());
  w.data_ptr<float>()[0] += 1;  // the version does not tell
  EXPECT_LT(distance(run_without(), at::conv2d(x, w, {}, 2, 1)), 1e-6);
}

TEST(ConvPatches, RefusesWhatConv2dRefuses) {
  const at::NoGradGuard guard;
  WeightCache cache;
  const Tensor w = noise({4, 6, 3, 3}, 1);
  EXPECT_THROW(conv_patches(noise({1, 5, 8, 8}, 2), w, {}, 1, 1, cache), c10::Error);
  EXPECT_THROW(conv_patches(noise({1, 6, 2, 8}, 2), w, {}, 1, 0, cache), c10::Error);
}

}  // namespace tweedie

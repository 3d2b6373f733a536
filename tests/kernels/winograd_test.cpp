// On plain pointers: what conv3x3 does not show.
#include "tweedie/kernels/winograd.h"

#include "tests/kernels/support.h"

namespace tweedie::kernels {
namespace {

using at::Tensor;
using testing::distance;
using testing::in_many_parts;
using testing::in_one_part;
using testing::in_two_parts;
using testing::noise;

// Images in [n,h,w,channels], and the filter's gradient.
struct Result {
  Tensor y, dfilter;
};

struct Setting {
  bool in_place = false;  // the residual is the output's memory
  bool flip = false;
};

Result run(const Conv3x3Shape& s, const ParallelFor& parallel, Setting setting = {}) {
  const auto side = [&](ConvScale halved, int64_t of) { return s.scale == halved ? of / 2 : of; };
  const Tensor x =
      noise({s.n, side(ConvScale::kUpsampled, s.h), side(ConvScale::kUpsampled, s.w), s.c}, 1);
  const Tensor filter = noise({s.k, s.c, 3, 3}, 2), bias = noise({s.k}, 3);
  const Tensor image_bias = noise({s.n, s.k}, 4);
  const Tensor residual =
      noise({s.n, side(ConvScale::kPooled, s.h), side(ConvScale::kPooled, s.w), s.k}, 5);
  const Tensor dy = noise({s.n, s.h, s.w, s.k}, 6);
  const Tensor last =
      filter.permute({setting.flip ? 1 : 0, 2, 3, setting.flip ? 0 : 1}).contiguous();
  const int64_t tile = tile_of(s.h, s.w);
  const Tensor weights = at::full({winograd_weight_size(tile, s.c, s.k)}, std::nan(""));
  winograd_weights(tile, last.data_ptr<float>(), s.c, s.k, setting.flip, weights.data_ptr<float>(),
                   parallel);
  Result out{setting.in_place ? residual : at::full_like(residual, std::nan("")),
             at::full({s.k, 3, 3, s.c}, std::nan(""))};
  winograd_conv(s, {.x = {x.data_ptr<float>()}}, weights.data_ptr<float>(),
                {bias.data_ptr<float>(), image_bias.data_ptr<float>(), residual.data_ptr<float>()},
                out.y.data_ptr<float>(), parallel);
  if (s.scale != ConvScale::kPooled)
    winograd_filter_gradient(s, x.data_ptr<float>(), dy.data_ptr<float>(),
                             out.dfilter.data_ptr<float>(), nullptr, parallel);
  out.dfilter = out.dfilter.permute({0, 3, 1, 2});
  return out;
}

const Conv3x3Shape kShapes[] = {{2, 14, 18, 20, 33},
                                {1, 70, 60, 17, 150},
                                {1, 30, 42, 33, 140, ConvScale::kUpsampled},
                                {3, 14, 10, 40, 70, ConvScale::kPooled},
                                {40, 16, 16, 17, 20},
                                {19, 4, 4, 40, 70},
                                {19, 3, 4, 150, 33},
                                {19, 4, 2, 40, 70, ConvScale::kUpsampled},
                                {19, 4, 4, 40, 70, ConvScale::kPooled}};

void expect_pooled(const Conv3x3Shape& s) {
  const Tensor x = noise({s.n, s.h, s.w, s.c}, 1), filter = noise({s.k, s.c, 3, 3}, 2);
  const auto exact = [&](bool flip) {
    const Tensor w = flip ? filter.flip({2, 3}) : filter;
    const Tensor y =
        at::conv2d(x.to(at::kDouble).permute({0, 3, 1, 2}), w.to(at::kDouble), {}, 1, 1);
    const Tensor sums = 4 * at::avg_pool2d(y, {2, 2}) + noise({s.k}, 3).view({-1, 1, 1}) +
                        noise({s.n, s.k}, 4).view({s.n, s.k, 1, 1});
    return sums.permute({0, 2, 3, 1}) + noise({s.n, s.h / 2, s.w / 2, s.k}, 5);
  };
  for (const bool flip : {false, true})
    EXPECT_LT(distance(run(s, in_two_parts, {.flip = flip}).y, exact(flip)), 2e-5) << flip;
}

}  // namespace

TEST(Winograd, DoesNotDependOnHowTheWorkIsCut) {
  for (const Conv3x3Shape& s : kShapes) {
    const Result one = run(s, in_one_part);
    EXPECT_TRUE(one.y.isfinite().all().item<bool>());
    for (const ParallelFor& parallel : {ParallelFor(in_two_parts), ParallelFor(in_many_parts)}) {
      const Result cut = run(s, parallel);
      EXPECT_TRUE(at::equal(one.y, cut.y)) << s.h;
      EXPECT_TRUE(s.scale == ConvScale::kPooled || at::equal(one.dfilter, cut.dfilter)) << s.h;
    }
  }
}

TEST(Winograd, TheResidualMayBeTheOutput) {
  for (const Conv3x3Shape& s : kShapes)
    EXPECT_TRUE(at::equal(run(s, in_two_parts).y, run(s, in_two_parts, {.in_place = true}).y));
}

TEST(Winograd, ScratchFromLargerWorkIsNotSeen) {
  const Conv3x3Shape& small = kShapes[0];
  const Result before = run(small, in_one_part);
  run({1, 24, 24, 290, 300}, in_one_part);
  const Result after = run(small, in_one_part);
  EXPECT_TRUE(at::equal(before.y, after.y) && at::equal(before.dfilter, after.dfilter));
}

// So many tiles and so few channels that images are shared out; blocks of unlike sizes.
TEST(Winograd, FilterGradientOfUnlikeBlocks) {
  const Conv3x3Shape s{32, 16, 16, 136, 96};
  const Tensor x = noise({s.n, s.h, s.w, s.c}, 1), dy = noise({s.n, s.h, s.w, s.k}, 6);
  const auto planes = [](const Tensor& t) { return t.to(at::kDouble).permute({0, 3, 1, 2}); };
  const Tensor exact = std::get<1>(at::convolution_backward(
      planes(dy), planes(x), at::zeros({s.k, s.c, 3, 3}, at::kDouble), at::OptionalIntArrayRef(),
      {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1, {false, true, false}));
  EXPECT_LT(distance(run(s, in_two_parts).dfilter, exact), 2e-5);
}

TEST(Winograd, PooledIsTheSumOfFour) {
  expect_pooled({2, 10, 6, 20, 24, ConvScale::kPooled});
  expect_pooled({3, 4, 2, 20, 24, ConvScale::kPooled});
}

}  // namespace tweedie::kernels

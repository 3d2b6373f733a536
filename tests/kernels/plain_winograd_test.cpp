#include "tweedie/kernels/winograd.h"

#include <cmath>
#include <utility>

#include "tests/kernels/plain.h"

namespace tweedie::kernels {
namespace {

using namespace plain;

constexpr double kWinogradTolerance = 1e-5;

// f(y, x, w) for every product w * x that y sums; w lies [k,3,3,c], a trained network's layout.
void each_product(const Conv3x3Shape& s, const std::function<void(int64_t, int64_t, int64_t)>& f) {
  const int up = s.scale == ConvScale::kUpsampled, pool = s.scale == ConvScale::kPooled;
  const auto pixel = [&](int64_t n, int64_t i, int64_t j, int halved) {
    return (n * (s.h >> halved) + (i >> halved)) * (s.w >> halved) + (j >> halved);
  };
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.h; ++i)
      for (int64_t j = 0; j < s.w; ++j)
        for (int64_t tap = 0; tap < 9; ++tap) {
          const int64_t y = i + tap / 3 - 1, x = j + tap % 3 - 1;
          if (y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
          for (int64_t k = 0; k < s.k; ++k)
            for (int64_t c = 0; c < s.c; ++c)
              f(pixel(n, i, j, pool) * s.k + k, pixel(n, y, x, up) * s.c + c,
                (k * 9 + tap) * s.c + c);
        }
}

struct Convolution {
  explicit Convolution(const Conv3x3Shape& s)
      : shape(s),
        x(noise(pixels(ConvScale::kUpsampled) * s.c, 1)),
        w(noise(s.k * 9 * s.c, 2)),
        dy(noise(pixels(ConvScale::kPooled) * s.k, 3)) {}

  // Of the side that `halving` halves.
  int64_t pixels(ConvScale halving) const {
    return shape.n * shape.h * shape.w / (shape.scale == halving ? 4 : 1);
  }

  void expect_output() const {
    const Array bias = noise(shape.k, 4), image_bias = noise(shape.n * shape.k, 5);
    const Array residual = noise(dy.size(), 6);
    const int64_t tile = tile_of(shape.h, shape.w);
    Array y(dy.size()), weights(winograd_weight_size(tile, shape.c, shape.k));
    winograd_weights(tile, w.data(), shape.c, shape.k, false, weights.data(), in_parts);
    winograd_conv(shape, {.x = {x.data()}}, weights.data(),
                  {bias.data(), image_bias.data(), residual.data()}, y.data(), in_parts);
    Numbers sums = residual.numbers();
    for (int64_t i = 0; i < y.size(); ++i)
      sums[i] += bias.data()[i % shape.k] +
                 image_bias.data()[i / (y.size() / shape.n) * shape.k + i % shape.k];
    each_product(shape, [&](int64_t to, int64_t at, int64_t tap) {
      sums[to] += double(x.data()[at]) * w.data()[tap];
    });
    expect_close(y, sums, kWinogradTolerance, "y");
  }

  void expect_filter_gradient() const {
    Array dw(w.size()), dbias(shape.n * shape.k);
    winograd_filter_gradient(shape, x.data(), dy.data(), dw.data(), dbias.data(), in_parts);
    Numbers of_images(dbias.size());
    for (int64_t i = 0; i < dy.size(); ++i)
      of_images[i / (dy.size() / shape.n) * shape.k + i % shape.k] += dy.data()[i];
    expect_close(dbias, of_images, 1e-6, "dbias");
    Numbers sums(dw.size());
    each_product(shape, [&](int64_t from, int64_t at, int64_t tap) {
      sums[tap] += double(dy.data()[from]) * x.data()[at];
    });
    expect_close(dw, sums, kWinogradTolerance, "dw");
  }

  // The convolution of dy with the flipped filter; what was upsampled is pooled.
  void expect_input_gradient() const {
    Conv3x3Shape back = shape;
    std::swap(back.c, back.k);
    if (shape.scale == ConvScale::kUpsampled) back.scale = ConvScale::kPooled;
    if (shape.scale == ConvScale::kPooled) back.scale = ConvScale::kUpsampled;
    const int64_t tile = tile_of(shape.h, shape.w);
    Array dx(x.size()), weights(winograd_weight_size(tile, back.c, back.k));
    winograd_weights(tile, w.data(), back.c, back.k, true, weights.data(), in_parts);
    winograd_conv(back, {.x = {dy.data()}}, weights.data(), {}, dx.data(), in_parts);
    Numbers sums(dx.size());
    each_product(shape, [&](int64_t from, int64_t at, int64_t tap) {
      sums[at] += double(dy.data()[from]) * w.data()[tap];
    });
    expect_close(dx, sums, kWinogradTolerance, "dx");
  }

  Conv3x3Shape shape;
  Array x, w, dy;
};

// Whole vectors and less, several blocks of tiles, several panels and chunks of channels.
TEST(PlainWinograd, AllScalesAndDirections) {
  for (const Conv3x3Shape& s :
       {Conv3x3Shape{2, 6, 8, 16, 32}, Conv3x3Shape{1, 4, 2, 1, 3}, Conv3x3Shape{3, 10, 6, 19, 37},
        Conv3x3Shape{1, 40, 20, 5, 6}, Conv3x3Shape{1, 6, 4, 70, 150}})
    for (const ConvScale scale : {ConvScale::kSame, ConvScale::kUpsampled, ConvScale::kPooled}) {
      SCOPED_TRACE(testing::Message() << s.c << " -> " << s.k << ", scale " << int(scale));
      Conv3x3Shape shape = s;
      shape.scale = scale;
      const Convolution conv(shape);
      conv.expect_output();
      conv.expect_input_gradient();
      if (scale != ConvScale::kPooled) conv.expect_filter_gradient();
    }
}

TEST(PlainWinograd, OddSizes) {
  for (const Conv3x3Shape& s : {Conv3x3Shape{1, 1, 1, 16, 16}, Conv3x3Shape{2, 7, 5, 21, 18}}) {
    const Convolution conv(s);
    conv.expect_output();
    conv.expect_input_gradient();
    conv.expect_filter_gradient();
  }
}

// act(a x + b) of images that lie in two arrays; the last one has enough tiles to do so row by row.
TEST(PlainWinograd, NormalisesOnTheWay) {
  for (const Conv3x3Shape& s : {Conv3x3Shape{2, 40, 30, 20, 18}, Conv3x3Shape{3, 5, 9, 33, 17},
                                Conv3x3Shape{100, 2, 3, 17, 5}, Conv3x3Shape{2, 90, 70, 17, 5}})
    for (const int64_t extra : {int64_t{0}, int64_t{1}, s.c - 2})
      for (const bool silu : {false, true}) {
        SCOPED_TRACE(testing::Message() << s.h << " rows, " << extra << " beside, SiLU " << silu);
        const Convolution conv(s);
        const auto [own, beside] = split(conv.x, s.c, extra);
        const Array line = noise(2 * s.n * s.c, 4);
        const int64_t tile = tile_of(s.h, s.w);
        Array y(conv.dy.size()), weights(winograd_weight_size(tile, s.c, s.k));
        winograd_weights(tile, conv.w.data(), s.c, s.k, false, weights.data(), in_parts);
        winograd_conv(s, {{own.data(), beside.data(), extra}, line.data(), silu}, weights.data(),
                      {}, y.data(), in_parts);
        Numbers sums(y.size());
        each_product(s, [&](int64_t to, int64_t at, int64_t tap) {
          const int64_t i = at / (s.h * s.w * s.c) * s.c + at % s.c;
          const double z = double(line.data()[i]) * conv.x.data()[at] + line.data()[s.n * s.c + i];
          sums[to] += (silu ? z / (1 + std::exp(-z)) : z) * conv.w.data()[tap];
        });
        expect_close(y, sums, kWinogradTolerance, "y");
      }
}

}  // namespace
}  // namespace tweedie::kernels

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tweedie/core/rng.h"
#include "tweedie/data/loader.h"

namespace tweedie {
namespace {

Image random_image(int height, int width, int channels, uint64_t seed = 1) {
  Image image{width, height, channels, std::vector<uint8_t>(size_t{1} * height * width * channels)};
  Rng rng(seed);
  for (uint8_t& p : image.pixels) p = static_cast<uint8_t>(rng.below(256));
  return image;
}

double mean(const Image& image) {
  return std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
         static_cast<double>(image.pixels.size());
}

}  // namespace

TEST(Transforms, EveryLevelSurvivesTheRoundTrip) {
  Image ramp{16, 16, 1, std::vector<uint8_t>(256)};
  std::iota(ramp.pixels.begin(), ramp.pixels.end(), uint8_t{0});
  const Tensor x = to_tensor(ramp);
  EXPECT_EQ(x.sizes(), (std::vector<int64_t>{1, 16, 16}));
  EXPECT_EQ(x[0][0][0].item<float>(), -1.0f);
  EXPECT_EQ(x[0][15][15].item<float>(), 1.0f);
  EXPECT_NEAR(x[0][6][4].item<float>(), 100 / 127.5 - 1, 1e-7);
  EXPECT_EQ(to_image(x).pixels, ramp.pixels);
}

TEST(Transforms, ToTensorSeparatesTheChannels) {
  const Image image = random_image(3, 5, 3);
  const Tensor x = to_tensor(image);
  for (int y = 0; y < 3; ++y)
    for (int col = 0; col < 5; ++col)
      for (int c = 0; c < 3; ++c)
        EXPECT_NEAR(x[c][y][col].item<float>(), image.pixels[(y * 5 + col) * 3 + c] / 127.5 - 1,
                    1e-6);
  EXPECT_EQ(to_image(x).pixels, image.pixels);
}

TEST(Transforms, ToImageClampsAndRoundsToTheNearestLevel) {
  const Tensor x = at::tensor({-7.0, -1.0, 0.0, 0.0041, 1.0, 9.0, std::nan("")}).view({1, 1, 7});
  // 0 lies between 127 and 128 and rounds away from zero: 127.5 -> 128.
  EXPECT_EQ(to_image(x).pixels, (std::vector<uint8_t>{0, 0, 128, 128, 255, 255, 0}));
}

TEST(Transforms, AnImageOfTheRightSizeStaysAsItIs) {
  const Image image = random_image(7, 9, 3);
  EXPECT_EQ(fit_image(image, 7, 9, 3).pixels, image.pixels);
}

TEST(Transforms, AConstantImageStaysConstantAtEverySize) {
  for (const auto& [from_h, from_w, to_h, to_w] : std::vector<std::array<int, 4>>{
           {13, 29, 8, 8}, {8, 8, 31, 17}, {100, 3, 5, 5}, {1, 1, 4, 6}}) {
    const Image image{from_w, from_h, 3, std::vector<uint8_t>(size_t{3} * from_h * from_w, 200)};
    const Image out = fit_image(image, to_h, to_w, 3);
    EXPECT_EQ(out.height, to_h);
    EXPECT_EQ(out.width, to_w);
    EXPECT_EQ(out.pixels, std::vector<uint8_t>(size_t{3} * to_h * to_w, 200));
  }
}

TEST(Transforms, ReducingAveragesNoiseAway) {
  const Image image = random_image(256, 256, 1);
  const Image out = fit_image(image, 8, 8, 1);
  EXPECT_NEAR(mean(out), mean(image), 1.5);
  // A triangle over 64 pixels keeps 2/3 of 1/32 of the variance a side; picking single pixels keeps
  // it all.
  double variance = 0;
  for (const uint8_t p : out.pixels) variance += (p - mean(out)) * (p - mean(out)) / 64;
  EXPECT_LT(std::sqrt(variance), 74.0 / 20);
}

TEST(Transforms, HalvingWeighsTheFourNearestPixelsByTheTriangle) {
  // From 8 to 4: output 1 is centred at 3.0, support 2: sources 1..4 weigh 1/8, 3/8, 3/8, 1/8.
  Image row{8, 8, 1, std::vector<uint8_t>(64)};
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x) row.pixels[y * 8 + x] = static_cast<uint8_t>(x * x * 4);
  const Image out = fit_image(row, 4, 4, 1);
  EXPECT_EQ(out.pixels[4 + 1], std::lround((4 * 1 + 3 * 16 + 3 * 36 + 64) / 8.0));
}

TEST(Transforms, AgreesWithPillowsBilinear) {
  // Image.fromarray(a).resize((w, h), Image.BILINEAR) with a[y][x] = (37*y*y + 11*x*x + 5*x*y) %
  // 256, 6 rows of 9.
  Image a{9, 6, 1, {}};
  for (int y = 0; y < 6; ++y)
    for (int x = 0; x < 9; ++x)
      a.pixels.push_back(static_cast<uint8_t>((37 * y * y + 11 * x * x + 5 * x * y) % 256));
  const Image out = fit_image(a, 2, 3, 1);
  const std::vector<uint8_t> pillow = {88, 134, 126, 146, 138, 153};
  for (size_t i = 0; i < pillow.size(); ++i) EXPECT_NEAR(out.pixels[i], pillow[i], 1) << i;
  const Image up = fit_image(a, 8, 12, 1);
  const std::vector<uint8_t> pillow_up = {
      0,   7,   23,  51,  92,  147, 117, 34,  125, 69,  89,  192, 23,  32,  51,  81,
      125, 181, 154, 73,  166, 113, 75,  80,  79,  90,  111, 132, 107, 154, 166, 136,
      160, 158, 123, 70,  139, 153, 177, 185, 66,  81,  143, 195, 103, 183, 211, 160,
      86,  102, 129, 164, 191, 114, 106, 162, 71,  155, 185, 137, 79,  97,  127, 168,
      223, 132, 116, 174, 86,  173, 205, 160, 109, 129, 163, 194, 180, 140, 126, 139,
      126, 167, 167, 124, 157, 180, 215, 229, 97,  139, 128, 63,  173, 136, 78,  37};
  for (size_t i = 0; i < pillow_up.size(); ++i) EXPECT_NEAR(up.pixels[i], pillow_up[i], 1) << i;
}

TEST(Transforms, TheCropTakesTheSideItIsToldTo) {
  // Left half black, right half white, twice as wide as high.
  Image image{20, 10, 1, {}};
  for (int i = 0; i < 200; ++i) image.pixels.push_back(i % 20 < 10 ? 0 : 255);
  EXPECT_EQ(fit_image(image, 10, 10, 1, 0, 0).pixels, std::vector<uint8_t>(100, 0));
  EXPECT_EQ(fit_image(image, 10, 10, 1, 1, 1).pixels, std::vector<uint8_t>(100, 255));
  const Image center = fit_image(image, 10, 10, 1);
  EXPECT_NEAR(mean(center), 127.5, 1);
}

TEST(Transforms, TheCropOfAResizedImageIsAWindowOfTheWholeResize) {
  const Image image = random_image(40, 90, 3);
  const Image whole = fit_image(image, 16, 36, 3);
  const Image window = fit_image(image, 16, 16, 3, 0.5);
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 16; ++x)
      for (int c = 0; c < 3; ++c)
        EXPECT_EQ(window.pixels[(y * 16 + x) * 3 + c], whole.pixels[(y * 36 + x + 10) * 3 + c]);
}

TEST(Transforms, GreyAndRgbBecomeEachOther) {
  const Image grey{2, 1, 1, {10, 250}};
  EXPECT_EQ(fit_image(grey, 1, 2, 3).pixels, (std::vector<uint8_t>{10, 10, 10, 250, 250, 250}));
  EXPECT_EQ(fit_image(fit_image(grey, 1, 2, 3), 1, 2, 1).pixels, grey.pixels);
  const Image primaries{3, 1, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255}};  // BT.601: 0.299, 0.587, 0.114
  EXPECT_EQ(fit_image(primaries, 1, 3, 1).pixels, (std::vector<uint8_t>{76, 150, 29}));
}

TEST(Transforms, AVeryLongThinImageIsCroppedWithoutBuildingItWhole) {
  const Image strip{60000, 1, 1, std::vector<uint8_t>(60000, 9)};
  EXPECT_EQ(fit_image(strip, 512, 512, 1).pixels, std::vector<uint8_t>(512 * 512, 9));
}

}  // namespace tweedie

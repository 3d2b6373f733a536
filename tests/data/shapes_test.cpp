#include "tweedie/data/shapes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <set>

#include "tests/support/errors.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

int64_t area(const Image& mask) { return std::count(mask.pixels.begin(), mask.pixels.end(), 255); }

}  // namespace

TEST(Shapes, AnExampleIsAFunctionOfSplitAndIndex) {
  const ShapesDataset train(32, 32, Split::kTrain), again(32, 32, Split::kTrain);
  const ShapesDataset test(32, 32, Split::kTest), all(32, 32, Split::kAll);
  EXPECT_EQ(train.size(), 50000);
  EXPECT_EQ(test.size(), 5000);
  EXPECT_EQ(all.size(), 55000);
  for (const int64_t i : {0, 1, 4999}) {
    EXPECT_EQ(train.get(i).image.pixels, again.get(i).image.pixels);
    EXPECT_EQ(train.get(i).image.pixels, all.get(i).image.pixels);
    EXPECT_EQ(test.get(i).image.pixels, all.get(50000 + i).image.pixels);
    EXPECT_EQ(test.mask(i).pixels, all.mask(50000 + i).pixels);
    EXPECT_NE(train.get(i).image.pixels, test.get(i).image.pixels);
    EXPECT_NE(train.get(i).image.pixels, train.get(i + 1).image.pixels);
  }
}

TEST(Shapes, TheMaskHasTheAreaOfItsShape) {
  // Of radius 1, and all have their centroid at the centre of the circle around them.
  const double pi = std::numbers::pi, a = 0.32, b = std::sqrt(1 - a * a);
  const std::vector<double> areas = {pi,                              // circle
                                     2,                               // square
                                     3 * std::sqrt(3) / 4,            // triangle
                                     5 * 0.45 * std::sin(pi / 5),     // star: 10 triangles
                                     pi * (1 - 0.25),                 // ring
                                     2 * 2 * a * 2 * b - 4 * a * a};  // cross
  const ShapesDataset data(300, 400, Split::kTrain);
  std::set<int64_t> seen;
  for (int64_t i = 0; i < 40; ++i) {
    const int64_t label = data.get(i).label;
    const Image mask = data.mask(i);
    double cx = 0, cy = 0, radius = 0;
    for (int y = 0; y < mask.height; ++y)
      for (int x = 0; x < mask.width; ++x)
        if (mask.pixels[y * mask.width + x]) cx += x, cy += y;
    cx /= area(mask), cy /= area(mask);
    for (int y = 0; y < mask.height; ++y)
      for (int x = 0; x < mask.width; ++x)
        if (mask.pixels[y * mask.width + x]) radius = std::max(radius, std::hypot(x - cx, y - cy));
    EXPECT_NEAR(area(mask) / (radius * radius), areas.at(label), 0.05 * areas.at(label)) << i;
    EXPECT_GT(radius, 0.19 * 300);
    EXPECT_LT(radius, 0.43 * 300);
    seen.insert(label);
  }
  EXPECT_EQ(seen.size(), data.classes().size());
}

TEST(Shapes, TheMaskIsWhereTheImageHasTheColorOfTheShape) {
  const ShapesDataset data(64, 64, Split::kTest);
  for (int64_t i = 0; i < 30; ++i) {
    const Image image = data.get(i).image, mask = data.mask(i);
    const auto inside = [&](int x, int y) { return mask.pixels[y * 64 + x] == 255; };
    std::set<std::vector<uint8_t>> colors;
    int interior = 0;
    std::vector<std::vector<uint8_t>> outer;
    for (int y = 1; y < 63; ++y)
      for (int x = 1; x < 63; ++x) {
        int around = 0;
        for (int dy = -1; dy <= 1; ++dy)
          for (int dx = -1; dx <= 1; ++dx) around += inside(x + dx, y + dy);
        const uint8_t* p = &image.pixels[(y * 64 + x) * 3];
        if (around == 9) colors.insert({p, p + 3}), ++interior;
        if (around == 0) outer.push_back({p, p + 3});
      }
    ASSERT_GT(interior, 0);
    EXPECT_EQ(colors.size(), 1u) << i;
    for (const auto& color : outer) EXPECT_FALSE(colors.count(color)) << i;
  }
}

TEST(Shapes, EdgesAreAntialiased) {
  // A pixel holds what a far finer drawing holds on average over its square.
  const ShapesDataset coarse(32, 32, Split::kTrain), fine(512, 512, Split::kTrain);
  for (int64_t i = 0; i < 6; ++i) {
    const Image a = coarse.get(i).image, b = fine.get(i).image;
    double error = 0, worst = 0;
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x)
        for (int c = 0; c < 3; ++c) {
          double mean = 0;
          for (int v = 0; v < 16; ++v)
            for (int u = 0; u < 16; ++u)
              mean += b.pixels[((16 * y + v) * 512 + 16 * x + u) * 3 + c] / 256.0;
          const double off = std::abs(a.pixels[(y * 32 + x) * 3 + c] - mean);
          error += off / (32 * 32 * 3), worst = std::max(worst, off);
        }
    EXPECT_LT(error, 0.7) << i;
    EXPECT_LT(worst, 64) << i;  // whole pixels would be off by up to half of the contrast
  }
}

TEST(Shapes, AnotherSizeDrawsTheSameScenes) {
  const ShapesDataset small(32, 32, Split::kTrain), large(96, 96, Split::kTrain);
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(small.get(i).label, large.get(i).label);
    const Image a = small.mask(i), b = large.mask(i);
    int differ = 0;
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x)  // the middle of 3 x 3 pixels is the centre of the large one
        differ += a.pixels[y * 32 + x] != b.pixels[(3 * y + 1) * 96 + 3 * x + 1];
    EXPECT_EQ(differ, 0) << i;
  }
}

TEST(Shapes, LabelsAreBalanced) {
  const ShapesDataset data(8, 8, Split::kTrain);
  std::vector<int> counts(data.classes().size());
  for (int64_t i = 0; i < 6000; ++i) ++counts.at(data.get(i).label);
  for (const int count : counts) EXPECT_NEAR(count, 1000, 150);  // five standard deviations
}

TEST(Shapes, SizesAreReadFromTheSpec) {
  EXPECT_EQ(open_dataset({.spec = "shapes"})->common_size(), std::make_pair(32, 32));
  EXPECT_EQ(open_dataset({.spec = "shapes:48@test"})->common_size(), std::make_pair(48, 48));
  const DatasetPtr data = open_dataset({.spec = "shapes:16x24@test"});
  EXPECT_EQ(data->common_size(), std::make_pair(16, 24));
  EXPECT_EQ(data->get(0).image.height, 16);
  EXPECT_EQ(data->describe(), "shapes:16x24@test: 5000 images 16x24x3, 6 classes, procedural");
  for (const char* size :
       {"x", "32x", "x32", "3x2x1", "-4", "32 ", "big", "99999999999", "0", "7", "5000"})
    EXPECT_TRUE(contains(message_of([&] { open_dataset({.spec = std::string("shapes:") + size}); }),
                         "shapes"))
        << size;
}

}  // namespace tweedie

#include "tweedie/pipeline/chart.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/scratch.h"
#include "tweedie/core/error.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"
#include "tweedie/pipeline/chart_page.h"

namespace tweedie {
namespace {

using testing::Scratch;

Chart rising() {
  return {.title = "t",
          .x_label = "x",
          .y_label = "y",
          .series = {{.name = "s", .points = {{0, 0}, {1, 1}}}}};
}

}  // namespace

TEST(Chart, DrawsARisingLineFromLowerLeftToUpperRight) {
  const Scratch scratch;
  write_chart(scratch / "c.png", rising());
  const Image image = read_image(scratch / "c.png");
  ASSERT_EQ(image.width, 720);
  ASSERT_EQ(image.channels, 3);
  // Lowest and highest row of the curve's blue, and their columns.
  int first_x = -1, last_x = -1, first_y = 0, last_y = 0;
  for (int x = 70; x < 690; ++x)
    for (int y = 60; y < 370; ++y) {
      const uint8_t* p = &image.pixels[(static_cast<size_t>(y) * image.width + x) * 3];
      if (!(p[2] > 120 && p[0] < 80)) continue;
      if (first_x < 0) first_x = x, first_y = y;
      last_x = x, last_y = y;
    }
  EXPECT_LT(first_x, 90);
  EXPECT_GT(last_x, 650);
  EXPECT_GT(first_y, last_y + 200);
}

TEST(Chart, WithoutPointsHasItsAxes) {
  Chart chart = rising();
  chart.series[0].points = {{1, -1}, {2, 0}};
  chart.log_y = true;
  const Image image = draw_chart(chart);
  const auto dark = std::count_if(image.pixels.begin(), image.pixels.end(),
                                  [](uint8_t value) { return value < 128; });
  EXPECT_GT(dark, 500);  // the axis alone is 636 pixels of three
}

TEST(Chart, WritesSvgAndRefusesOtherKinds) {
  const Scratch scratch;
  write_chart(scratch / "c.svg", rising());
  EXPECT_NE(read_file(scratch / "c.svg").find("<svg"), std::string::npos);
  EXPECT_THROW(write_chart(scratch / "c.gif", rising()), Error);
}

TEST(Chart, APageHoldsItsPanelsAndEnlargesItsPicturesByWholePixels) {
  const Scratch scratch;
  Chart small = rising();
  small.width = 300, small.height = 200;
  const Image red{2, 2, 3, {255, 0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0}};
  const Image grey{2, 2, 1, {90, 90, 90, 90}};
  Page page{.title = "p", .panels = {small, small, small}, .columns = 2};
  page.strips = {{"first", {red, grey}}, {"second", {grey, grey}}};
  page.captions = {"a", "b"};
  write_page(scratch / "p.png", page);
  const Image image = read_image(scratch / "p.png");
  EXPECT_EQ(image.width, 600);
  int reds = 0, greys = 0, left = image.width, right = 0;
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      const uint8_t* p = &image.pixels[(static_cast<size_t>(y) * image.width + x) * 3];
      greys += p[0] == 90 && p[1] == 90 && p[2] == 90;
      if (p[0] != 255 || p[1] != 0 || p[2] != 0) continue;
      ++reds, left = std::min(left, x), right = std::max(right, x);
    }
  const int side = right - left + 1;
  EXPECT_EQ(side % 2, 0);
  EXPECT_GT(side, 50);
  EXPECT_EQ(reds, side * side) << "one solid square";
  EXPECT_NEAR(greys, 3 * side * side, 200) << "text may touch that grey";
  write_page(scratch / "p.svg", page);
  EXPECT_NE(read_file(scratch / "p.svg").find("<image"), std::string::npos);
}

}  // namespace tweedie

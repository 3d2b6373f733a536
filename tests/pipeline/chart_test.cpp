#include "tweedie/pipeline/chart.h"

#include <gtest/gtest.h>

#include "tests/support/scratch.h"
#include "tweedie/core/error.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"

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

TEST(Chart, WritesSvgAndRefusesOtherKinds) {
  const Scratch scratch;
  write_chart(scratch / "c.svg", rising());
  EXPECT_NE(read_file(scratch / "c.svg").find("<svg"), std::string::npos);
  EXPECT_THROW(write_chart(scratch / "c.gif", rising()), Error);
}

}  // namespace tweedie

#include "tweedie/train/precision.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace tweedie {

TEST(Precision, WhatIsSaidIsTakenWithoutAWord) {
  for (const std::string said : {"fp32", "bf16"})
    EXPECT_EQ(resolve_precision(said, at::kCPU, [](const std::string&) { FAIL(); }), said);
}

TEST(Precision, AutoMeasuresBothAndTakesTheFasterOne) {
  std::string notice;
  const std::string chosen =
      resolve_precision("auto", at::kCPU, [&](const std::string& text) { notice = text; });
  double fp32 = 0, bf16 = 0;
  ASSERT_EQ(std::sscanf(notice.c_str(), "precision %*s a 3x3 convolution takes %lf ms in fp32, %lf",
                        &fp32, &bf16),
            2)
      << notice;
  EXPECT_GT(std::min(fp32, bf16), 0);
  EXPECT_EQ(notice.rfind("precision " + chosen + ":", 0), 0u) << notice;
  // Rounded to 0.01 ms, both may read the same.
  EXPECT_TRUE(chosen == "fp32" ? fp32 <= bf16 : bf16 <= fp32) << notice;
}

TEST(Precision, AutocastHoldsWhileItLivesAndNoLonger) {
  const at::Tensor a = at::ones({4, 4}), b = at::full({4, 4}, 1 + 1.0 / 1024);
  const auto product = [&] { return at::mm(a, b).scalar_type(); };
  {
    Autocast outer("bf16", at::kCPU);
    EXPECT_EQ(product(), at::kBFloat16);
    { Autocast inner("bf16", at::kCPU); }
    EXPECT_EQ(product(), at::kBFloat16);
  }
  EXPECT_EQ(product(), at::kFloat);
  Autocast off("fp32", at::kCPU);
  EXPECT_EQ(product(), at::kFloat);
}

}  // namespace tweedie

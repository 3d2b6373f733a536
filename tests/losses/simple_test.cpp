#include "tweedie/losses/simple.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tweedie/core/error.h"
#include "tweedie/losses/objective.h"

namespace tweedie {

// DDPM Eq. 14
TEST(SimpleLoss, IsTheMeanSquareOfEachExample) {
  const Tensor target = at::tensor({1., 2., 3., 4., 0., 0., 0., 0.}).view({2, 1, 2, 2});
  const Tensor output = at::tensor({1., 0., 0., 0., 1., -1., 2., -2.}).view({2, 1, 2, 2});
  const Tensor loss = simple_loss(output, target);
  ASSERT_EQ(loss.sizes(), (std::vector<int64_t>{2}));
  EXPECT_FLOAT_EQ(loss[0].item<float>(), (4 + 9 + 16) / 4.f);
  EXPECT_FLOAT_EQ(loss[1].item<float>(), (1 + 1 + 4 + 4) / 4.f);
}

TEST(SimpleLoss, IsOneForANetworkThatSaysNothing) {
  at::manual_seed(0);
  const Tensor eps = at::randn({4, 3, 64, 64});
  EXPECT_NEAR(simple_loss(at::zeros_like(eps), eps).mean().item<double>(), 1, 0.02);
}

TEST(SimpleLoss, HasTheGradientOfASquare) {
  const Tensor target = at::tensor({3., -1.}).view({1, 1, 1, 2});
  const Tensor output = at::zeros({1, 1, 1, 2}).requires_grad_();
  simple_loss(output, target).sum().backward();
  EXPECT_FLOAT_EQ(output.grad()[0][0][0][0].item<float>(), -3);  // 2 (0 - 3) / 2
  EXPECT_FLOAT_EQ(output.grad()[0][0][0][1].item<float>(), 1);
}

TEST(SimpleLoss, RefusesShapesThatDiffer) {
  EXPECT_THROW(simple_loss(at::zeros({2, 1, 2, 2}), at::zeros({2, 2, 2, 2})), Error);
  EXPECT_THROW(simple_loss(at::zeros({2, 1, 2, 2}), at::zeros({2, 1, 2, 1})), Error);
}

TEST(Objective, ReadsItsKeysAndRefusesOthers) {
  ObjectiveOptions options;
  from_json(Json::parse(R"({"loss": "simple", "label_dropout": 0.1})"), options);
  EXPECT_EQ(options.label_dropout, 0.1);
  EXPECT_THROW(from_json(Json::parse(R"({"loss": "simpel"})"), options), Error);
  EXPECT_THROW(from_json(Json::parse(R"({"label_dropout": 1.5})"), options), Error);
}

}  // namespace tweedie

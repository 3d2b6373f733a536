#include "tweedie/nn/unet.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace tweedie {
namespace {

UNetOptions tiny() {
  UNetOptions o;
  o.in_channels = o.out_channels = 1;
  o.block_out_channels = {8, 16};
  o.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
  o.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
  o.layers_per_block = 1;
  o.norm_num_groups = 4;
  return o;
}

}  // namespace

TEST(UNet, GivesAnImageOfTheInputsSize) {
  UNet net(tiny());
  const Tensor x = at::randn({2, 1, 6, 10});
  const Tensor y = net->forward(x, at::tensor({3, 500}));
  EXPECT_EQ(y.sizes(), x.sizes());
  EXPECT_TRUE(y.isfinite().all().item<bool>());
}

TEST(UNet, SendsAGradientToEveryParameter) {
  UNet net(tiny());
  net->forward(at::randn({2, 1, 4, 4}), at::tensor({3, 500})).square().mean().backward();
  for (const auto& item : net->named_parameters())
    EXPECT_GT(item.value().grad().abs().sum().item<float>(), 0) << item.key();
}

TEST(UNet, ComputesTheSameWithAndWithoutAutograd) {
  UNet net(tiny());
  const Tensor x = at::randn({2, 1, 8, 8}), t = at::tensor({3, 500});
  const Tensor with = net->forward(x, t);
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(with, net->forward(x, t)));
}

}  // namespace tweedie

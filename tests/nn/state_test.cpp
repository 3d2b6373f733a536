#include "tweedie/nn/state.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "tests/support/errors.h"
#include "tests/support/tiny_unet.h"
#include "tweedie/core/error.h"
#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

using State = std::map<std::string, Tensor>;

State copy_of(const UNet& net) {
  State state = state_of(*net);
  for (auto& [name, tensor] : state) tensor = tensor.clone();
  return state;
}

void rename(State& state, const std::string& from, const std::string& to) {
  State renamed;
  for (const auto& [old, tensor] : state) {
    std::string name = old;
    for (size_t at; (at = name.find(from)) != std::string::npos;) name.replace(at, from.size(), to);
    renamed[name] = tensor;
  }
  state = renamed;
}

bool same(const State& a, const State& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!b.count(name) || !at::equal(tensor, b.at(name))) return false;
  return true;
}

std::string fault(const State& state) {
  UNet net(testing::tiny_unet(3), 9);
  const State before = copy_of(net);
  const std::string message =
      testing::message_of([&] { load_state(*net, state, "w.safetensors"); });
  if (!message.empty()) {
    EXPECT_TRUE(same(before, state_of(*net))) << "a refused state changed the network";
  }
  return message;
}

}  // namespace

TEST(State, GoesFromOneNetworkToAnother) {
  UNet a(testing::tiny_unet(3), 1), b(testing::tiny_unet(3), 2);
  EXPECT_FALSE(same(state_of(*a), state_of(*b)));
  load_state(*b, state_of(*a), "a");
  EXPECT_TRUE(same(state_of(*a), state_of(*b)));
}

// Or every training step would reorder the filters of the stock convolutions.
TEST(State, KeepsFiltersChannelsLastWhateverIsLoaded) {
  UNet net(testing::tiny_unet(3), 1);
  State contiguous = copy_of(net);
  for (auto& [name, tensor] : contiguous) tensor = tensor.contiguous();
  load_state(*net, contiguous, "contiguous");
  for (const auto& [name, tensor] : state_of(*net))
    EXPECT_TRUE(tensor.dim() != 4 || tensor.is_contiguous(at::MemoryFormat::ChannelsLast)) << name;
}

TEST(State, HasTheSizeOfDdpmCifar10) {
  UNetOptions o;
  o.block_out_channels = {128, 256, 256, 256};
  o.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"};
  o.up_block_types = {"UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  o.attention_head_dim.reset();
  UNet net(o);
  EXPECT_EQ(parameter_count(*net), 35746307);
  EXPECT_EQ(state_of(*net).size(), 328u);
}

TEST(State, ConvertsOtherFloatingTypes) {
  for (const auto type : {at::kHalf, at::kBFloat16, at::kDouble}) {
    UNet net(testing::tiny_unet(3));
    State state = copy_of(net);
    for (auto& [name, tensor] : state) tensor = tensor.to(type);
    load_state(*net, state, "w");
    for (const auto& [name, tensor] : state_of(*net)) {
      EXPECT_EQ(tensor.scalar_type(), at::kFloat);
      EXPECT_TRUE(at::equal(tensor, state.at(name).to(at::kFloat)));
    }
  }
}

TEST(State, ReadsTheOldNamesOfAttention) {
  UNet from(testing::tiny_unet(3), 1), to(testing::tiny_unet(3), 2);
  State state = copy_of(from);
  rename(state, ".to_q.", ".query.");
  rename(state, ".to_k.", ".key.");
  rename(state, ".to_v.", ".value.");
  rename(state, ".to_out.0.", ".proj_attn.");
  EXPECT_TRUE(state.count("mid_block.attentions.0.proj_attn.bias"));
  for (auto& [name, tensor] : state)
    if (name.find("query.weight") != std::string::npos) tensor = tensor.view({16, 16, 1, 1});
  load_state(*to, state, "w");
  EXPECT_TRUE(same(state_of(*from), state_of(*to)));
}

TEST(State, ReadsTheNamesFromBeforeDiffusers01) {
  UNet from(testing::tiny_unet(3), 1), to(testing::tiny_unet(3), 2);
  State state = copy_of(from);
  const State modern = state;
  rename(state, "mid_block.", "mid.");
  rename(state, "down_blocks.", "downsample_blocks.");
  rename(state, "up_blocks.", "upsample_blocks.");
  for (const auto& [name, tensor] : State(state))
    if (name.find("samplers.0.conv.") != std::string::npos) {
      std::string twin = name;
      twin.replace(twin.find(".conv."), 6, ".op.");
      state[twin] = tensor;
    }
  EXPECT_GT(state.size(), modern.size());
  load_state(*to, state, "w");
  EXPECT_TRUE(same(modern, state_of(*to)));
}

TEST(State, NamesWhatDoesNotFit) {
  State state = copy_of(UNet(testing::tiny_unet(3)));
  const size_t all = state.size();
  state.erase("conv_in.bias");
  state["conv_extra.bias"] = at::zeros(3);
  state["conv_out.bias"] = at::zeros(4);
  state["conv_norm_out.bias"] = at::zeros(8, at::kLong);
  EXPECT_EQ(fault(state),
            "w.safetensors: the weights do not fit the network: 1 missing (conv_in.bias); 1 extra "
            "(conv_extra.bias); 1 of another shape (conv_out.bias is [4], not [3]); 1 not floating "
            "point (conv_norm_out.bias is Long)");
  const std::string nothing = fault({});
  EXPECT_NE(nothing.find(formatted("{} missing (conv_in.bias, conv_in.weight, ", all)),
            std::string::npos)
      << nothing;
  EXPECT_NE(nothing.find(", ...)"), std::string::npos);
}

}  // namespace tweedie

// What diffusers' UNet2DModel answered (unet_fixtures.json), with weights from an integer hash.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

uint64_t finalise(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// hashed() of unet_cases.py: uniform in [-1,1).
Tensor hashed(const std::string& name, at::IntArrayRef shape) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  Tensor out = at::empty(shape, at::kDouble);
  double* values = out.data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i)
    values[i] = static_cast<double>(finalise(h + i) >> 11) * 0x1p-52 - 1;
  return out;
}

// hashed_weight() of unet_cases.py.
Tensor hashed_weight(const std::string& name, const Tensor& like) {
  Tensor u = hashed(name, like.sizes());
  if (name.ends_with("bias")) return u * 0.2;
  if (like.dim() == 1) return name.starts_with("time_proj") ? u * 16 : u * 0.2 + 1;
  return u * std::sqrt(3.0 / static_cast<double>(like[0].numel()));
}

Json fixtures() {
  std::ifstream file(TWEEDIE_SOURCE_DIR "/tests/parity/unet_fixtures.json");
  return Json::parse(file).at("cases");
}

Tensor labels(const Json& classes, const UNetOptions& options, int64_t n) {
  if (classes.is_null()) return {};
  if (classes == "vectors") return hashed("classes", {n, options.temb_channels()});
  return at::tensor(classes.get<std::vector<int64_t>>());
}

Tensor times(const Json& t) {
  if (t[0].is_number_float()) return at::tensor(t.get<std::vector<double>>(), at::kFloat);
  return at::tensor(t.get<std::vector<int64_t>>());
}

class UNetFixture : public testing::TestWithParam<Json> {};

}  // namespace

TEST_P(UNetFixture, AgreesWithDiffusers) {
  const Json& fixture = GetParam();
  const UNetOptions options = unet_options_from_json(fixture["config"]);
  UNet net(options);
  std::map<std::string, Tensor> weights;
  for (const auto& [name, tensor] : state_of(*net)) weights[name] = hashed_weight(name, tensor);
  load_state(*net, weights, "hash");

  const auto size = fixture["input"].get<std::vector<int64_t>>();
  const Tensor x = (hashed("input", size) * std::sqrt(3.0)).to(at::kFloat);
  const Tensor t = times(fixture["t"]), classes = labels(fixture["classes"], options, size[0]);
  const auto answer = fixture["output"].get<std::vector<float>>();
  const Tensor expected =
      at::tensor(answer).view({size[0], options.out_channels, size[2], size[3]});

  const double largest = expected.abs().max().item<double>();
  const Tensor with_autograd = net->forward(x, t, classes);
  EXPECT_LT((with_autograd - expected).abs().max().item<double>(), 1e-4 * largest);
  const at::NoGradGuard no_grad;
  const Tensor kept = x.clone();
  EXPECT_LT((net->forward(x, t, classes) - expected).abs().max().item<double>(), 1e-4 * largest);
  EXPECT_TRUE(at::equal(x, kept)) << "the input was overwritten";
}

INSTANTIATE_TEST_SUITE_P(, UNetFixture, testing::ValuesIn(fixtures()), [](const auto& info) {
  return info.param["name"].template get<std::string>();
});

}  // namespace tweedie

// Trains the network of a folder on given batches, for a test that compares the losses:
//   train_steps FOLDER IN.safetensors OUT.safetensors LEARNING_RATE EPSILON
// IN holds x [S,N,C,H,W], t [S,N] and eps like x, a step each; OUT gets `losses` [S] and the first
// step's gradients under the parameters' names.
#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tweedie/io/safetensors.h"
#include "tweedie/losses/simple.h"
#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"
#include "tweedie/train/optimizer.h"

namespace tweedie {
namespace {

void run(const std::filesystem::path& folder, const char* in, const char* out, double rate,
         double epsilon) {
  const auto weights = folder / "diffusion_pytorch_model.safetensors";
  std::ifstream config(folder / "config.json");
  UNet net(unet_options_from_json(Json::parse(config)));
  load_state(*net, read_safetensors(weights), weights.string());
  net->train();
  Parameters parameters;
  for (const auto& item : net->named_parameters()) {
    parameters.names.push_back(item.key());
    parameters.tensors.push_back(item.value());
  }
  AdamW optimizer(parameters, {.epsilon = epsilon});
  const TensorMap batches = read_safetensors(in);
  const Tensor x = batches.at("x"), t = batches.at("t"), eps = batches.at("eps");
  const Tensor losses = at::empty({x.size(0)});
  TensorMap result{{"losses", losses}};
  for (int64_t i = 0; i < x.size(0); ++i) {
    optimizer.zero_grad();
    const Tensor loss = simple_loss(net->forward(x[i], t[i]), eps[i]).mean();
    loss.backward();
    if (i == 0) {
      for (size_t p = 0; p < parameters.names.size(); ++p)
        result[parameters.names[p]] = parameters.tensors[p].grad().clone();
    }
    optimizer.step({.learning_rate = rate, .k = i + 1});
    losses[i] = loss.detach();
  }
  write_safetensors(out, result);
}

}  // namespace
}  // namespace tweedie

int main(int argc, char** argv) try {
  if (argc != 6) return 2;
  tweedie::run(argv[1], argv[2], argv[3], std::stod(argv[4]), std::stod(argv[5]));
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

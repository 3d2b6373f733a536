// Runs the network of a folder, for tests that compare it with another implementation:
//   unet_forward FOLDER IN.safetensors OUT.safetensors [SEED]
// FOLDER holds config.json and diffusion_pytorch_model.safetensors; with SEED the weights are drawn
// here and both files written instead. IN holds x, t and maybe classes; OUT gets y.
#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tweedie/io/safetensors.h"
#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"

namespace tweedie {
namespace {

void run(const std::filesystem::path& folder, const char* in, const char* out, const char* seed) {
  const auto weights = folder / "diffusion_pytorch_model.safetensors";
  std::ifstream config(folder / "config.json");
  UNet net(unet_options_from_json(Json::parse(config)), seed ? std::stoull(seed) : 0);
  net->eval();
  if (seed) {
    Json json = {{"_class_name", "UNet2DModel"}};
    json.update(to_json(net->options()));
    std::ofstream(folder / "config.json") << json.dump(2) << '\n';
    write_safetensors(weights, state_of(*net));
  } else {
    load_state(*net, read_safetensors(weights), weights.string());
  }
  const at::NoGradGuard no_grad;
  const TensorMap inputs = read_safetensors(in);
  const Tensor classes = inputs.count("classes") ? inputs.at("classes") : Tensor();
  write_safetensors(out, {{"y", net->forward(inputs.at("x"), inputs.at("t"), classes)}});
}

}  // namespace
}  // namespace tweedie

int main(int argc, char** argv) try {
  if (argc < 4) return 2;
  tweedie::run(argv[1], argv[2], argv[3], argc > 4 ? argv[4] : nullptr);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

// A training so small that a test can run it many times.
#pragma once
#include <ATen/Parallel.h>

#include <sstream>

#include "tests/support/scratch.h"
#include "tests/support/tiny_unet.h"
#include "tweedie/io/files.h"
#include "tweedie/train/trainer.h"

namespace tweedie {
namespace fs = std::filesystem;

// Two classes of 8x8 pictures: a bright left or right half, of a grey that depends on the index.
class Halves : public Dataset {
 public:
  explicit Halves(int64_t size, bool labelled = true) : size_(size), labelled_(labelled) {}
  int64_t size() const override { return size_; }
  Example get(int64_t i) const override {
    Example out{{8, 8, 1, std::vector<uint8_t>(64)}, labelled_ ? i % 2 : -1};
    for (int k = 0; k < 64; ++k)
      out.image.pixels[k] = ((k % 8 < 4) == (i % 2 == 0)) ? 255 - (i * 7) % 60 : (i * 5) % 40;
    return out;
  }
  std::vector<std::string> classes() const override {
    return labelled_ ? std::vector<std::string>{"left", "right"} : std::vector<std::string>{};
  }
  std::pair<int, int> common_size() const override { return {8, 8}; }
  int common_channels() const override { return 1; }
  std::string describe() const override { return "halves"; }

 private:
  int64_t size_;
  bool labelled_;
};

inline UNetOptions tiny_model() {
  UNetOptions model = testing::tiny_unet(1, {8, 8});
  model.attention_head_dim = 4;
  model.dropout = 0.1;
  model.num_class_embeds = 3;
  return model;
}

// A path that is not there yet, below a folder that goes when the program ends.
inline fs::path fresh_folder(const std::string& name) {
  static const testing::Scratch scratch;
  return scratch / name;
}

// Everything whose state could be forgotten is switched on.
inline TrainSetup tiny_setup(const fs::path& folder, const UNetOptions& model = tiny_model()) {
  at::set_num_threads(1);  // a network this small gains nothing from more
  TrainSetup setup;
  setup.net = UNet(model);
  setup.objective.label_dropout = 0.2;
  setup.train.steps = 12;
  setup.train.batch_size = 3;
  setup.train.accumulate = 2;
  setup.train.lr_schedule = "cosine";
  setup.train.learning_rate = 2e-3;
  setup.train.warmup_steps = 4;
  setup.train.checkpoint_every = 3;
  setup.train.eval_every = 5;
  setup.train.eval_images = 8;
  setup.train.log_every = 2;
  setup.train.preview_every = 0;
  setup.data = std::make_shared<Halves>(10);
  setup.heldout = std::make_shared<Halves>(16);
  setup.loader.height = setup.loader.width = 8;
  setup.loader.flip = true;
  setup.folder = folder;
  return setup;
}

// The files that a resumed training must share with one that was never stopped.
inline bool same_bytes(const fs::path& a, const fs::path& b, int64_t step) {
  for (const char* file : {"weights", "ema", "optimizer"}) {
    const fs::path name =
        fs::path("checkpoints") / formatted("step_{}", step) / formatted("{}.safetensors", file);
    if (read_file(a / name) != read_file(b / name)) return false;
  }
  return true;
}

// The lines of log.jsonl without what the clock decides.
inline std::vector<std::string> log_of(const fs::path& folder) {
  std::istringstream in(read_file(folder / "log.jsonl"));
  std::vector<std::string> out;
  for (std::string line; std::getline(in, line);) {
    Json json = Json::parse(line);
    json.erase("seconds");
    json.erase("images_per_second");
    out.push_back(json.dump());
  }
  return out;
}

}  // namespace tweedie

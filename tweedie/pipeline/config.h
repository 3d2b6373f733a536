// An experiment: one JSON file, every key of which the command line can set.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tweedie/core/options.h"
#include "tweedie/data/loader.h"
#include "tweedie/losses/objective.h"
#include "tweedie/nn/model_options.h"
#include "tweedie/process/options.h"
#include "tweedie/samplers/sampler.h"
#include "tweedie/train/options.h"

namespace tweedie {

/// What to train on and how it is fitted to the network.
struct DataOptions {
  std::string source;         ///< a dataset spec: fashion-mnist, folder:DIR, shapes, ...
  std::vector<int64_t> size;  ///< [height, width] the network sees; empty: what all images share
  bool flip = false;
  std::string crop = "center";
  double holdout = 0.05;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("source", self.source,
          "fashion-mnist, idx:DIR, cifar10:DIR, folder:DIR, shapes[:SIZE], points:NAME or a path");
    field("size", self.size, "[height, width] of the network; empty takes what all images share");
    field("flip", self.flip, "mirror half of the training images");
    field("crop", self.crop, "where an image that is too wide or too high is cut",
          one_of({"center", "random"}));
    field("holdout", self.holdout, "share of a folder without train/ and test/ that is held out",
          between(0, 0.9));
  }
};

/// How to draw from what was trained: the model folder recommends it.
struct SampleOptions {
  std::string sampler = "ddim";
  std::optional<int64_t> steps;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("sampler", self.sampler, "which one", one_of(sampler_names()));
    field("steps", self.steps, "how many; all for ddpm, else 50, unless said", between(1, 1e6));
  }
};

struct Config {
  std::string about;
  DataOptions data;
  ModelOptions model;
  ProcessOptions process;
  ObjectiveOptions objective;
  TrainOptions train;
  SampleOptions sample;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("about", self.about, "what it is for: paper, table, the figure to expect");
    field("data", self.data, "the images");
    field("model", self.model,
          "the network, with the keys of diffusers' unet/config.json; or type mlp");
    field("process", self.process, "the noise, with the keys of diffusers' scheduler_config.json");
    field("objective", self.objective, "the loss");
    field("train", self.train, "the training");
    field("sample", self.sample, "the sampler that the model folder recommends");
  }
};

/// Reads a config by path or name (see find_config) and applies `key=value` assignments in order. A
/// budget (train.steps, train.images, train.minutes) among the assignments replaces the file's.
/// Throws Error (user) naming the file, the key, the value and the known choices.
Config read_config(const std::string& name_or_path,
                   const std::vector<std::string>& assignments = {});
/// Applies `key=value` assignments, budgets replacing the one that is there.
void apply_assignments(Config& config, const std::vector<std::string>& assignments);

/// A path that exists, else NAME.json of configs/ (or the folder NAME of models/) in
/// $TWEEDIE_SHARE, the source tree or the installed share folder. Throws Error (user) naming the
/// known ones.
std::filesystem::path find_config(const std::string& name_or_path);
std::filesystem::path find_model(const std::string& name_or_path);
std::vector<std::string> known_configs();
std::vector<std::string> known_models();

/// The minutes of two cores that the budget among the assignments is worth to the preset for a
/// dataset. Throws Error (user) if they give none.
double minutes_of(const Dataset& dataset, const std::vector<std::string>& assignments);

/// The preset for a dataset when no config is given: a U-Net that the size, the channels and the
/// minutes allow, or an MLP for points, and a batch, a warm-up and checkpoints that suit as many
/// steps as two cores make of them.
Config preset_for(const Dataset& dataset, const std::string& spec, double minutes);

}  // namespace tweedie

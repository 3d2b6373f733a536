// A model on disk: a diffusers folder, with our own facts beside it in tweedie.json.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tweedie/io/safetensors.h"
#include "tweedie/nn/network.h"
#include "tweedie/pipeline/config.h"
#include "tweedie/process/process.h"

namespace tweedie {

/// tweedie.json: what the diffusers files cannot say. A folder saved by Python has none.
struct ModelCard {
  std::string version;               ///< of the program that wrote it
  std::vector<std::string> classes;  ///< names by index; empty = not named
  /// The index that stands for "no class"; absent = there is none.
  std::optional<int64_t> null_class;
  std::string sampler = "ddim";  ///< recommended
  int64_t steps = 50;            ///< recommended
  /// Where the images came from: source, split, count; of points also `points`, their PointSpace.
  Json data = Json::object();
  Json training = Json::object();  ///< steps, images, seconds, precision, held-out loss
  Json config = nullptr;           ///< the full resolved config

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("version", self.version, "of the program that wrote this");
    field("classes", self.classes, "class names by index");
    field("null_class", self.null_class, "the class index that means no class");
    field("sampler", self.sampler, "recommended sampler");
    field("steps", self.steps, "recommended steps", at_least(1));
    field("data", self.data, "the images it was trained on");
    field("training", self.training, "how far");
    field("config", self.config, "the full config");
  }
};

/// A network with its process, ready to sample.
struct Model {
  std::string name;  ///< the folder's name
  std::filesystem::path folder;
  Network net{nullptr};             ///< eval mode
  Json scheduler = Json::object();  ///< scheduler_config.json as it stands
  std::string scheduler_class;      ///< "DDPMScheduler", ...
  std::optional<ModelCard> card;
  int64_t height = 0, width = 0;  ///< of the samples

  const NetworkOptions& options() const { return net->options(); }
  bool conditional() const { return options().conditional(); }
  /// Of a model of points, as tweedie.json has it; empty: it is of images.
  std::optional<PointSpace> points() const;
  /// Classes one can ask for, without the null class; 0 if there are none or any number will do.
  int64_t class_count() const;
  /// The process, with diffusers' defaults for keys that the folder leaves out.
  ProcessOptions process_options() const;
};

/// Opens a model folder, ours or diffusers', nested or flat. Throws Error (user) naming the file
/// and what is wrong with it. `device` is "cpu" or "cuda".
Model load_model(const std::filesystem::path& folder, const std::string& device = "cpu");

/// Writes unet/ (of an MLP denoiser/, which diffusers does not open), scheduler/, model_index.json
/// and tweedie.json into `folder`, each atomically.
void save_model(const std::filesystem::path& folder, const ModelOptions& net,
                const TensorMap& weights, const ProcessOptions& process, const ModelCard& card);

/// "cpu" or "cuda" as a torch device; Error (user) for anything else or for CUDA that is not there.
torch::Device device_of(const std::string& name);

}  // namespace tweedie

#include "tweedie/pipeline/config.h"

#include <algorithm>

#include "tweedie/io/files.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

std::vector<fs::path> share_folders() {
  std::vector<fs::path> folders;
  if (const char* share = std::getenv("TWEEDIE_SHARE")) folders.push_back(share);
#ifdef TWEEDIE_SOURCE_DIR
  folders.push_back(TWEEDIE_SOURCE_DIR);
#endif
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) folders.push_back(program.parent_path().parent_path() / "share" / "tweedie");
  return folders;
}

std::vector<std::string> names_in(const char* room, const char* extension) {
  std::vector<std::string> names;
  for (const fs::path& share : share_folders()) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(share / room, error)) {
      const bool wanted = *extension ? entry.path().extension() == extension
                                     : fs::exists(entry.path() / "model_index.json");
      if (wanted) names.push_back(entry.path().stem().string());
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

// A config is a file, a model a folder: a folder that bears a config's name does not hide it.
fs::path find(const std::string& name, const char* room, const char* extension, const char* what) {
  std::error_code error;
  const bool path = name.find('/') != std::string::npos || name.find('.') != std::string::npos;
  if (*extension ? fs::is_regular_file(name, error) || (path && fs::exists(name, error))
                 : fs::is_directory(name, error))
    return name;
  if (name.find('/') == std::string::npos)
    for (const fs::path& share : share_folders())
      if (const fs::path path = share / room / (name + extension); fs::exists(path, error))
        return path;
  fail("no {} '{}': neither a path nor a known name; {}", what, name,
       unknown_message(what, name, names_in(room, extension)));
}

struct TrainPart {
  TrainOptions train;
  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("train", self.train, "the training");
  }
};

// What the assignments say of the training.
TrainOptions train_options(const std::vector<std::string>& assignments) {
  TrainPart part;
  for (const std::string& assignment : assignments)
    if (assignment.starts_with("train.") || assignment.starts_with("train="))
      set_field(part, assignment);
  return part.train;
}

bool has_budget(const TrainOptions& train) { return train.steps || train.images || train.minutes; }

constexpr double kPointSteps = 150;  // steps a second of the preset for points on two cores
constexpr int64_t kPointBatch = 256;

// Of the density of all classes together: a class is for who asks for model.num_class_embeds.
Config preset_for_points(const Dataset& dataset, const std::string& spec, double minutes) {
  Config config;
  config.data = {.source = spec, .size = {1, 1}};
  MlpOptions model;
  model.in_channels = model.out_channels = dataset.common_channels();
  config.model = model;
  config.process.clip_sample = false;
  TrainOptions& train = config.train;
  const auto steps = std::max<int64_t>(1, static_cast<int64_t>(60 * minutes * kPointSteps));
  train.minutes = minutes;
  train.batch_size = kPointBatch;
  train.learning_rate = 2e-3;
  train.ema_decay = 0.999;
  train.warmup_steps = std::clamp<int64_t>(steps / 20, 1, 200);
  train.log_every = 50;
  train.checkpoint_every = train.preview_every = std::clamp<int64_t>(steps / 4, 100, 5000);
  train.eval_every = train.checkpoint_every;
  train.eval_images = 4000;
  return config;
}

}  // namespace

fs::path find_config(const std::string& name) { return find(name, "configs", ".json", "config"); }
fs::path find_model(const std::string& name) { return find(name, "models", "", "model"); }
std::vector<std::string> known_configs() { return names_in("configs", ".json"); }
std::vector<std::string> known_models() { return names_in("models", ""); }

void apply_assignments(Config& config, const std::vector<std::string>& assignments) {
  if (has_budget(train_options(assignments))) {
    config.train.steps.reset();
    config.train.images.reset();
    config.train.minutes.reset();
  }
  for (const std::string& assignment : assignments) set_field(config, assignment);
}

Config read_config(const std::string& name, const std::vector<std::string>& assignments) {
  const fs::path file = find_config(name);
  Config config;
  try {
    from_json(read_json(file), config);
  } catch (const Error& e) {
    const std::string message = e.what();
    if (message.find(file.string()) != std::string::npos) throw;
    throw Error(e.kind(), file.string() + ": " + message);
  }
  apply_assignments(config, assignments);
  return config;
}

double minutes_of(const Dataset& dataset, const std::vector<std::string>& assignments) {
  const TrainOptions train = train_options(assignments);
  if (!has_budget(train)) fail("train: no budget; one of --minutes, --images, --steps");
  if (train.minutes) return *train.minutes;
  const bool points = dataset.point_space().has_value();
  const int64_t batch = points ? kPointBatch : 128;
  const double images_a_minute = points ? 60 * kPointSteps * double(batch) : 6000;
  return double(train.images.value_or(train.steps.value_or(0) * batch)) / images_a_minute;
}

Config preset_for(const Dataset& dataset, const std::string& spec, double minutes) {
  if (dataset.point_space()) return preset_for_points(dataset, spec, minutes);
  Config config;
  const int channels = dataset.common_channels() == 1 ? 1 : 3;
  auto [height, width] = dataset.common_size();
  // Three levels halve twice: sides are multiples of 4, and larger pictures are reduced to what a
  // CPU can learn.
  const int limit = minutes >= 600 ? 64 : 32;
  const int side = std::max(height, width);
  if (side == 0) {
    height = width = limit;
  } else if (side > limit) {
    height = std::max(4, height * limit / side / 4 * 4),
    width = std::max(4, width * limit / side / 4 * 4);
  } else {
    height = std::max(4, height / 4 * 4), width = std::max(4, width / 4 * 4);
  }
  config.data = {.source = spec, .size = {height, width}};
  const int64_t classes = static_cast<int64_t>(dataset.classes().size());
  UNetOptions& model = config.model.unet();
  model.in_channels = model.out_channels = channels;
  model.block_out_channels =
      minutes < 240 ? std::vector<int64_t>{32, 64, 64} : std::vector<int64_t>{64, 128, 128};
  model.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D"};
  model.up_block_types = {"UpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  if (classes > 0) {
    model.num_class_embeds = classes + 1;
    config.objective.label_dropout = 0.1;
  }
  // Steps that fit into the minutes on two cores, at a measured 57 images/s of 28x28 by the small
  // network.
  const bool small = model.block_out_channels[0] == 32;
  const double rate = (small ? 57.0 : 16.0) * 28 * 28 / double(height * width);
  config.train.batch_size = minutes < 60 ? 32 : minutes < 240 ? 64 : 128;
  const auto steps = static_cast<int64_t>(60 * minutes * rate / double(config.train.batch_size));
  config.train.warmup_steps = std::clamp<int64_t>(steps / 10, 1, 500);
  config.train.checkpoint_every = std::clamp<int64_t>(steps / 20, 10, 1000);
  config.train.eval_every = config.train.preview_every = std::clamp<int64_t>(steps / 8, 20, 1000);
  config.train.eval_images = minutes < 10 ? 200 : 1000;
  config.train.learning_rate = small ? 8e-4 : 4e-4;
  config.train.minutes = minutes;
  return config;
}

}  // namespace tweedie

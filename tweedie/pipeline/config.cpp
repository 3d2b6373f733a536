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

fs::path find(const std::string& name, const char* room, const char* extension, const char* what) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  if (name.find('/') == std::string::npos)
    for (const fs::path& share : share_folders())
      if (const fs::path path = share / room / (name + extension); fs::exists(path, error))
        return path;
  fail("no {} '{}': neither a path nor a known name; {}", what, name,
       unknown_message(what, name, names_in(room, extension)));
}

// Which budget an assignment sets, or "".
std::string budget_of(const std::string& assignment) {
  for (const char* key : {"train.steps", "train.images", "train.minutes"})
    if (assignment.rfind(std::string(key) + "=", 0) == 0) return key;
  return "";
}

}  // namespace

fs::path find_config(const std::string& name) { return find(name, "configs", ".json", "config"); }
fs::path find_model(const std::string& name) { return find(name, "models", "", "model"); }
std::vector<std::string> known_configs() { return names_in("configs", ".json"); }
std::vector<std::string> known_models() { return names_in("models", ""); }

void apply_assignments(Config& config, const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) {
    if (!budget_of(assignment).empty()) {
      config.train.steps.reset();
      config.train.images.reset();
      config.train.minutes.reset();
      break;
    }
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

Config preset_for(const Dataset& dataset, const std::string& spec, double minutes) {
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
  config.model.in_channels = config.model.out_channels = channels;
  config.model.block_out_channels =
      minutes < 240 ? std::vector<int64_t>{32, 64, 64} : std::vector<int64_t>{64, 128, 128};
  config.model.down_block_types = {"DownBlock2D", "AttnDownBlock2D", "DownBlock2D"};
  config.model.up_block_types = {"UpBlock2D", "AttnUpBlock2D", "UpBlock2D"};
  if (classes > 0) {
    config.model.num_class_embeds = classes + 1;
    config.objective.label_dropout = 0.1;
  }
  config.train.minutes = minutes;
  return config;
}

}  // namespace tweedie

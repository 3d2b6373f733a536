#include "tweedie/pipeline/model_folder.h"

#include "tweedie/io/files.h"
#include "tweedie/io/json.h"
#include "tweedie/nn/state.h"
#include "tweedie/process/config_json.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

constexpr const char* kOurs = "denoiser";  // where a network lies that diffusers does not know

// diffusers reads a component from the root where its subfolder does not exist.
fs::path component(const fs::path& folder, const char* name) {
  return fs::is_directory(folder / name) ? folder / name : folder;
}

template <class Read>
auto naming(const fs::path& file, Read&& read) {
  try {
    return read();
  } catch (const Error& e) {
    const std::string message = e.what();
    if (message.find(file.string()) != std::string::npos) throw;
    throw Error(e.kind(), file.string() + ": " + message);
  } catch (const Json::exception&) {
    fail("{}: a value is not of the kind that belongs there", file.string());
  }
}

// Python writes an infinite number as a word that JSON does not have (DPM-Solver's
// lambda_min_clipped): null here, no limit.
Json read_scheduler(const fs::path& file) {
  static constexpr std::string_view kWord = "-Infinity";
  std::string text = read_file(file);
  for (size_t at = text.find(kWord); at != std::string::npos; at = text.find(kWord, at))
    text.replace(at, kWord.size(), "null");
  return parse_json<Json>(text, file.string());
}

// What tweedie.json says of the classes must fit the network.
void check_card(const ModelCard& card, const NetworkOptions& net) {
  if (!net.conditional() && (card.null_class || !card.classes.empty()))
    fail("classes of a network that takes none");
  const auto embeds = net.num_class_embeds;
  if (card.null_class && (!embeds || *embeds < 2 || *card.null_class != *embeds - 1))
    fail("null_class is {}: it is the last of the network's {} classes, beside at least one",
         *card.null_class, embeds.value_or(0));
  const size_t room = embeds ? static_cast<size_t>(*embeds - (card.null_class ? 1 : 0)) : SIZE_MAX;
  if (card.classes.size() > room)
    fail("classes: {} names for {} classes", card.classes.size(), room);
  for (const Json* part : {&card.data, &card.training})
    if (!part->is_object()) fail("data and training are objects, not {}", part->dump());
}

// A model of points has a place for each channel in its space, and no other model has one.
void check_points(const Model& model) {
  const std::optional<PointSpace> space = model.points();
  if (!space) return;
  const size_t D = static_cast<size_t>(model.options().in_channels);
  if (space->columns.size() != D || space->center.size() != D || space->scale.size() != D)
    fail("data.points: {} columns, {} centers and {} scales for a network of {} channels",
         space->columns.size(), space->center.size(), space->scale.size(), D);
  for (const double scale : space->scale)
    if (!(scale > 0)) fail("data.points.scale: {}: expected above 0", scale);
}

fs::path weights_file(const fs::path& folder) {
  const fs::path file = folder / "diffusion_pytorch_model.safetensors";
  if (fs::exists(file)) return file;
  if (fs::exists(folder / "diffusion_pytorch_model.bin"))
    fail("{}: Python pickles are not read; save it with safetensors (save_pretrained's default)",
         (folder / "diffusion_pytorch_model.bin").string());
  if (fs::exists(folder / "diffusion_pytorch_model.safetensors.index.json"))
    fail("{}: sharded weights are not read",
         (folder / "diffusion_pytorch_model.safetensors.index.json").string());
  fail("{}: no diffusion_pytorch_model.safetensors there", folder.string());
}

}  // namespace

at::Device device_of(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  if (name != "cuda") fail_unknown("device", name, {"cpu", "cuda"});
  if (!at::hasCUDA()) fail("--device cuda: this LibTorch finds no CUDA device; known: cpu");
  return at::kCUDA;
}

int64_t Model::class_count() const {
  if (!options().num_class_embeds) return card ? static_cast<int64_t>(card->classes.size()) : 0;
  return *options().num_class_embeds - (card && card->null_class ? 1 : 0);
}

std::optional<PointSpace> Model::points() const {
  if (!card || !card->data.contains("points")) return {};
  PointSpace space;
  from_json(card->data["points"], space, "data.points");
  return space;
}

ProcessOptions Model::process_options() const {
  return naming(folder, [&] { return process_options_from_json(scheduler); });
}

Model load_model(const fs::path& folder, const std::string& device) {
  if (!fs::is_directory(folder)) fail("{}: not a model folder", folder.string());
  Model model;
  model.folder = folder;
  model.name = fs::weakly_canonical(folder).filename().string();

  const bool ours = fs::is_directory(folder / kOurs);
  const fs::path net = component(folder, ours ? kOurs : "unet"), config_file = net / "config.json";
  if (!fs::exists(config_file))
    fail("{}: not a model folder: neither unet/config.json nor config.json", folder.string());
  const Json config = read_json(config_file);
  const ModelOptions options = naming(config_file, [&] { return options_of_network(config); });
  const auto size = options->image_size();
  if (!size)
    fail("{}: sample_size is null: expected a size or [height, width]", config_file.string());
  std::tie(model.height, model.width) = *size;
  const at::Device where = device_of(device);
  const fs::path weights = weights_file(net);
  naming(config_file, [&] {
    model.net = build_network(options);
    return 0;
  });
  load_state(*model.net, read_safetensors(weights), weights.string());
  model.net->to(where);
  model.net->eval();

  const fs::path scheduler_file = component(folder, "scheduler") / "scheduler_config.json";
  if (!fs::exists(scheduler_file)) fail("{}: no such file", scheduler_file.string());
  model.scheduler = read_scheduler(scheduler_file);
  naming(scheduler_file, [&] {
    model.scheduler_class = model.scheduler.value("_class_name", "DDPMScheduler");
    return 0;
  });
  model.process_options();  // a bad key is found now

  if (const fs::path card = folder / "tweedie.json"; fs::exists(card)) {
    model.card.emplace();
    naming(card, [&] {
      from_json(read_json(card), *model.card);
      check_card(*model.card, *options.operator->());
      check_points(model);
      return 0;
    });
  }
  return model;
}

void save_model(const fs::path& folder, const ModelOptions& net, const TensorMap& weights,
                const ProcessOptions& process, const ModelCard& card) {
  const std::string scheduler = scheduler_class(process);
  const std::string part = net.is_mlp() ? kOurs : "unet";
  fs::create_directories(folder);
  Json config = network_config(net);
  if (!net.is_mlp()) config["_diffusers_version"] = kDiffusersVersion;
  write_folder(folder / part, [&](const fs::path& to) {
    write_json(to / "config.json", config);
    write_safetensors(to / "diffusion_pytorch_model.safetensors", weights);
  });
  write_folder(folder / "scheduler", [&](const fs::path& to) {
    write_json(to / "scheduler_config.json", scheduler_json(process, scheduler));
  });
  const Json index = {{"_class_name", net.is_mlp() ? "TweediePipeline" : "DDPMPipeline"},
                      {"_diffusers_version", kDiffusersVersion},
                      {"scheduler", {"diffusers", scheduler}},
                      {part, {net.is_mlp() ? "tweedie" : "diffusers", config["_class_name"]}}};
  write_json(folder / "model_index.json", index);
  write_json(folder / "tweedie.json", to_json(card));
}

}  // namespace tweedie

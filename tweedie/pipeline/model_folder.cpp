#include "tweedie/pipeline/model_folder.h"

#include "tweedie/io/files.h"
#include "tweedie/io/json.h"
#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"
#include "tweedie/process/config_json.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

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

torch::Device device_of(const std::string& name) {
  if (name == "cpu") return torch::kCPU;
  if (name != "cuda") fail_unknown("device", name, {"cpu", "cuda"});
  if (!torch::cuda::is_available())
    fail("--device cuda: this LibTorch finds no CUDA device; known: cpu");
  return torch::kCUDA;
}

int64_t Model::class_count() const {
  if (!options().num_class_embeds) return card ? static_cast<int64_t>(card->classes.size()) : 0;
  return *options().num_class_embeds - (card && card->null_class ? 1 : 0);
}

ProcessOptions Model::process_options() const {
  return naming(folder, [&] { return process_options_from_json(scheduler); });
}

Model load_model(const fs::path& folder, const std::string& device) {
  if (!fs::is_directory(folder)) fail("{}: not a model folder", folder.string());
  Model model;
  model.folder = folder;
  model.name = fs::weakly_canonical(folder).filename().string();

  const fs::path unet = component(folder, "unet"), config_file = unet / "config.json";
  if (!fs::exists(config_file))
    fail("{}: not a model folder: neither unet/config.json nor config.json", folder.string());
  const Json config = read_json(config_file);
  const UNetOptions options = naming(config_file, [&] { return unet_options_from_json(config); });
  const auto size = options.image_size();
  if (!size)
    fail("{}: sample_size is null: expected a size or [height, width]", config_file.string());
  std::tie(model.height, model.width) = *size;
  const torch::Device where = device_of(device);
  const fs::path weights = weights_file(unet);
  naming(config_file, [&] {
    model.net = UNet(options);
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
      check_card(*model.card, options);
      return 0;
    });
  }
  return model;
}

void save_model(const fs::path& folder, const UNetOptions& net, const TensorMap& weights,
                const ProcessOptions& process, const ModelCard& card) {
  const std::string scheduler = scheduler_class(process);
  fs::create_directories(folder);
  Json unet = to_json(net);
  unet["_class_name"] = "UNet2DModel";
  unet["_diffusers_version"] = kDiffusersVersion;
  write_folder(folder / "unet", [&](const fs::path& to) {
    write_json(to / "config.json", unet);
    write_safetensors(to / "diffusion_pytorch_model.safetensors", weights);
  });
  write_folder(folder / "scheduler", [&](const fs::path& to) {
    write_json(to / "scheduler_config.json", scheduler_json(process, scheduler));
  });
  const Json index = {{"_class_name", "DDPMPipeline"},
                      {"_diffusers_version", kDiffusersVersion},
                      {"scheduler", {"diffusers", scheduler}},
                      {"unet", {"diffusers", "UNet2DModel"}}};
  write_json(folder / "model_index.json", index);
  write_json(folder / "tweedie.json", to_json(card));
}

}  // namespace tweedie

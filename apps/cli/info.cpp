// tweedie info: what a model, run, dataset, config, weights file or picture is.
#include <filesystem>

#include "cli.h"
#include "plan.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/files.h"
#include "tweedie/io/grid.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/nn/state.h"
#include "tweedie/pipeline/config.h"
#include "tweedie/pipeline/model_folder.h"
#include "tweedie/pipeline/points.h"
#include "tweedie/train/checkpoint.h"

namespace fs = std::filesystem;

namespace tweedie::cli {
namespace {

constexpr int64_t kDots = 3000;

using Facts = std::vector<std::pair<std::string, Json>>;

std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>() : text_of(value);
}

void show(const Facts& facts) {
  if (common.json) {
    Json json = Json::object();
    for (const auto& [name, value] : facts) json[name] = value;
    return print_json(json);
  }
  for (const auto& [name, value] : facts) print(formatted("{:<12} {}", name, shown(value)));
}

std::string hw(int64_t height, int64_t width) {
  return height > 0 ? formatted("{}x{}", height, width) : "various";
}

// The number under `key`, 0 where there is none.
double number(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_number() ? json[key].get<double>() : 0;
}

// "2344 steps, 300032 images, 1:10:02, fp32, held-out loss 0.0412"
std::string training_line(const Json& training) {
  if (!training.contains("steps")) return training.dump();
  std::string line = formatted("{} steps, {} images, {}", number(training, "steps"),
                               number(training, "images"), duration(number(training, "seconds")));
  if (training.contains("precision")) line += ", " + shown(training["precision"]);
  if (training.contains("heldout"))
    line += formatted(", held-out loss {:.4f}", number(training["heldout"], "all"));
  return line;
}

std::string samples_line(const Model& model) {
  if (const auto space = model.points())
    return formatted("points ({})", fmt::join(space->columns, ", "));
  return formatted("{} (height x width), {} channels", hw(model.height, model.width),
                   model.options().in_channels);
}

// How a process noises: its path with the path's numbers, of vp its betas.
std::string process_line(const ProcessOptions& process) {
  if (process.path == "edm")
    return formatted("edm, sigma {} to {} by {}, sigma_data {}", process.sigma_min,
                     process.sigma_max, process.sigma_schedule, process.sigma_data);
  if (process.path == "flow") return formatted("flow, shift {}", process.shift);
  return (process.trained_betas ? "trained betas" : process.beta_schedule) +
         (process.rescale_betas_zero_snr ? ", zero terminal SNR" : "");
}

Facts of_model(const fs::path& folder) {
  const Model model = load_model(folder);
  const ProcessOptions process = model.process_options();
  Facts facts = {{"kind", "model"},
                 {"folder", folder.string()},
                 {"network", formatted("{}, {} parameters", model.net->describe(),
                                       parameter_count(*model.net))},
                 {"samples", samples_line(model)},
                 {"scheduler", formatted("{}: {} steps, {}, {}", model.scheduler_class,
                                         process.num_train_timesteps, process_line(process),
                                         process.prediction_type)}};
  facts.emplace_back("classes",
                     model.conditional() ? Json(model.class_count()) : Json("none: unconditional"));
  if (!model.card) {
    facts.emplace_back("tweedie.json", "none: saved by another program");
    return facts;
  }
  const ModelCard& card = *model.card;
  if (!card.classes.empty())
    facts.emplace_back("names", formatted("{}", fmt::join(card.classes, ", ")));
  if (card.null_class) facts.emplace_back("null class", *card.null_class);
  facts.emplace_back(
      "data", common.json
                  ? card.data
                  : Json(card.data.contains("what") ? shown(card.data["what"]) : card.data.dump()));
  facts.emplace_back("training", common.json ? card.training : Json(training_line(card.training)));
  facts.emplace_back("recommended", formatted("--sampler {} --steps {}", card.sampler, card.steps));
  facts.emplace_back("written by", "tweedie " + card.version);
  return facts;
}

Facts of_weights(const fs::path& file) {
  std::map<std::string, std::string> metadata;
  const TensorMap tensors = read_safetensors(file, &metadata);
  int64_t numbers = 0;
  Json list = Json::object();
  for (const auto& [name, tensor] : tensors) {
    numbers += tensor.numel();
    list[name] =
        formatted("{} [{}]", c10::toString(tensor.scalar_type()), fmt::join(tensor.sizes(), ","));
  }
  Facts facts = {{"kind", "safetensors"},
                 {"file", file.string()},
                 {"size", file_size(static_cast<double>(fs::file_size(file)))},
                 {"tensors", tensors.size()},
                 {"numbers", numbers},
                 {"metadata", Json(metadata)}};
  if (common.json) {
    facts.emplace_back("list", list);
  } else {
    for (const auto& [name, shape] : list.items()) facts.emplace_back(name, shape);
  }
  return facts;
}

Facts of_image(const fs::path& file) {
  ImageNotes notes;
  const Image image = read_image(file, &notes);
  Facts facts = {{"kind", "picture"},
                 {"file", file.string()},
                 {"size", formatted("{}x{} (height x width), {} channels", image.height,
                                    image.width, image.channels)}};
  if (!notes.empty()) facts.emplace_back("changed", formatted("{}", fmt::join(notes, "; ")));
  if (file.extension() == ".png" || file.extension() == ".PNG")
    for (const auto& [key, value] : read_png_text(file)) facts.emplace_back(key, value);
  return facts;
}

Facts of_points(const Dataset& data, const std::string& out) {
  const PointSpace space = *data.point_space();
  Facts facts = {{"kind", "dataset"},        {"what", data.describe()}, {"count", data.size()},
                 {"columns", space.columns}, {"center", space.center},  {"scale", space.scale},
                 {"classes", data.classes()}};
  if (out.empty()) return facts;
  std::vector<int64_t> labels;
  const at::Tensor points = points_of(data, kDots, &labels);
  write_scatter(out, scatter(points, space, labels, data.classes()));
  facts.emplace_back("picture", out);
  return facts;
}

Facts of_dataset(const std::string& spec, const std::string& out, bool force) {
  if (!out.empty()) require_free(out, force);
  const DatasetPtr data = open_dataset({.spec = spec, .split = Split::kAll});
  if (data->point_space()) return of_points(*data, out);
  const auto [height, width] = data->common_size();
  const int channels = data->common_channels();
  ProgressBar bar("reading");
  data->read_all(std::ref(bar), interrupts());
  bar.finish();
  const std::vector<std::string> classes = data->classes(), skipped = data->skipped();
  Facts facts = {{"kind", "dataset"},
                 {"what", data->describe()},
                 {"count", data->size()},
                 {"size", hw(height, width)},
                 {"channels", channels > 0 ? Json(channels) : Json("various")},
                 {"classes", classes},
                 {"changed", data->notes()},
                 {"skipped", skipped}};
  if (!out.empty()) {
    // Evenly spread, so that every class has its chance.
    const int64_t n = std::min<int64_t>(100, data->size());
    const int side = height > 0 ? 0 : 64;
    std::vector<Image> pictures;
    for (int64_t i = 0; i < n; ++i) {
      const Image image = data->get(i * data->size() / n).image;
      pictures.push_back(side ? fit_image(image, side, side, 3) : image);
    }
    write_image(out, tile(pictures, 10, 2));
    facts.emplace_back("sheet", out);
  }
  return facts;
}

bool is_model(const fs::path& path) {
  return fs::exists(path / "model_index.json") || fs::exists(path / "unet" / "config.json") ||
         fs::exists(path / "config.json");
}

Facts of_checkpoint(const fs::path& folder) {
  TrainState state;
  from_json(read_json(folder / "state.json"), state);
  Facts facts = {{"kind", "checkpoint"},
                 {"folder", folder.string()},
                 {"training", formatted("{} steps, {} images, {}, {}", state.step, state.images,
                                        duration(state.seconds), state.precision)}};
  if (state.heldout) facts.emplace_back("held-out loss", to_json(*state.heldout));
  if (state.plan)
    facts.emplace_back("plan", common.json ? to_json(*state.plan) : Json(state.plan->describe()));
  facts.emplace_back("resumed by", "tweedie train --resume --out " +
                                       fs::absolute(folder).parent_path().parent_path().string());
  return facts;
}

// A run whose first checkpoint is still to come has a config.json of ours and no model.
bool is_young_run(const fs::path& folder) {
  return fs::exists(folder / "log.jsonl") && !fs::exists(folder / "unet") &&
         !fs::exists(folder / "denoiser");
}

// The folder of a model that is named or lies there; empty: none.
fs::path model_folder(const std::string& thing) {
  std::error_code error;
  if (fs::is_directory(thing, error) && is_model(thing)) return thing;
  const std::vector<std::string> models = known_models();
  const bool named = std::find(models.begin(), models.end(), thing) != models.end();
  return named ? find_model(thing) : fs::path();
}

void show_plan(const std::string& thing) {
  const fs::path folder = model_folder(thing);
  if (folder.empty() || is_young_run(thing)) fail("--plan: {} is not a model", thing);
  const LayerTable table = layer_table(load_model(folder));
  if (common.json) return print_json(table.json);
  for (const std::string& line : table.lines) print(line);
}

Facts facts_of(const std::string& thing, const std::string& out, bool force) {
  std::error_code error;
  if (fs::exists(fs::path(thing) / "state.json", error)) return of_checkpoint(thing);
  if (is_young_run(thing))
    return {{"kind", "run"},
            {"folder", thing},
            {"model", "none yet: it is written with the first checkpoint"},
            {"config", to_json(read_config(thing + "/config.json"))}};
  if (const fs::path folder = model_folder(thing); !folder.empty()) return of_model(folder);
  if (fs::is_regular_file(thing, error)) {
    const std::string extension = fs::path(thing).extension().string();
    if (extension == ".safetensors") return of_weights(thing);
    if (extension == ".json")
      return {{"kind", "config"}, {"file", thing}, {"resolved", to_json(read_config(thing))}};
    if (is_image_file(thing)) return of_image(thing);
  }
  return of_dataset(thing, out, force);
}

}  // namespace

void add_info(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("info", "what a model, dataset, config, weights file or picture is");
  struct Flags {
    std::string thing, out;
    bool force = false, plan = false;
  };
  auto flags = std::make_shared<Flags>();
  verb.add_option("thing", flags->thing, "a path, a dataset spec or the name of a model")
      ->required();
  verb.add_option("--out", flags->out,
                  "for a dataset: save a contact sheet there, of points a scatter plot");
  verb.add_flag("--force", flags->force, "replace what exists");
  verb.add_flag("--plan", flags->plan,
                "of a model: how each of its convolutions and attentions is computed on this CPU");
  add_common(verb);
  verb.callback([flags] {
    apply_common();
    if (flags->plan) return show_plan(flags->thing);
    show(facts_of(flags->thing, flags->out, flags->force));
  });
}

}  // namespace tweedie::cli

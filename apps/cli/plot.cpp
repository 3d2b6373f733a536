// tweedie plot: pictures of a training and of the forward process.
#include <filesystem>
#include <fstream>

#include "cli.h"
#include "tweedie/core/noise.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/files.h"
#include "tweedie/io/grid.h"
#include "tweedie/pipeline/chart.h"
#include "tweedie/pipeline/config.h"
#include "tweedie/pipeline/model_folder.h"

namespace fs = std::filesystem;

namespace tweedie::cli {
namespace {

struct PlotFlags {
  std::string what, from, data = "fashion-mnist@test", out;
  int64_t rows = 4, columns = 11;
  uint64_t seed = 0;
  bool force = false;
};

// loss, its running mean and the held-out loss of RUN/log.jsonl over the images seen.
Chart training_chart(const fs::path& run) {
  const fs::path log = run / "log.jsonl";
  std::ifstream lines(log);
  if (!lines) fail("{}: no such file; a run folder has one", log.string());
  Chart::Series loss{.name = "training loss (running mean)"},
      heldout{.name = "held-out loss, EMA weights"};
  double mean = 0, weight = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json entry = Json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("images")) continue;
    if (!entry["images"].is_number())
      fail("{}: images is {}", log.string(), entry["images"].dump());
    const double images = entry["images"].get<double>();
    if (const auto value = entry.find("loss"); value != entry.end() && value->is_number()) {
      mean = 0.9 * mean + 0.1 * value->get<double>();
      weight = 0.9 * weight + 0.1;  // Adam's correction of a mean that began at 0
      loss.points.emplace_back(images, mean / weight);
    }
    if (const auto value = entry.find("heldout"); value != entry.end() && value->is_object() &&
                                                  value->contains("all") &&
                                                  value->at("all").is_number())
      heldout.points.emplace_back(images, value->at("all").get<double>());
  }
  if (loss.points.empty()) fail("{}: holds no losses", log.string());
  Chart chart{.title = "L_simple", .x_label = "images seen", .y_label = "loss", .log_y = true};
  chart.series.push_back(loss);
  if (!heldout.points.empty()) chart.series.push_back(heldout);
  return chart;
}

// Real images on their way to noise: a row an image, t growing to the right (DDPM Eq. 4).
Image noising(const PlotFlags& flags) {
  const Model model = load_model(find_model(flags.from));
  const Process process(model.process_options());
  const DatasetPtr data = open_dataset({.spec = flags.data, .split = Split::kTest});
  const int64_t T = process.options().num_train_timesteps;
  std::vector<Image> cells;
  for (int64_t row = 0; row < flags.rows; ++row) {
    const Image image =
        fit_image(data->get(row % data->size()).image, static_cast<int>(model.height),
                  static_cast<int>(model.width), static_cast<int>(model.options().in_channels));
    const Tensor x0 = to_tensor(image).unsqueeze(0);
    const Tensor eps = SeededNoise(flags.seed, row, x0.sizes().vec()).draw();
    cells.push_back(image);
    for (int64_t column = 1; column < flags.columns; ++column) {
      const int64_t k = (T - 1) * column / (flags.columns - 1);
      cells.push_back(to_image(process.add_noise(x0, eps, at::full({1}, k, at::kLong))[0]));
    }
  }
  return tile(cells, static_cast<int>(flags.columns), 2);
}

void plot(const PlotFlags& flags) {
  apply_common();
  require_free(flags.out, flags.force);
  if (flags.what == "training") {
    write_chart(flags.out, training_chart(flags.from));
  } else if (flags.what == "noising") {
    write_image(flags.out, noising(flags));
  } else {
    fail_unknown("plot", flags.what, {"training", "noising"});
  }
  print("wrote " + flags.out);
  if (common.json) print_json({{"files", Json::array({flags.out})}});
}

}  // namespace

void add_plot(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("plot", "pictures: a training's loss, images being noised");
  auto flags = std::make_shared<PlotFlags>();
  verb.add_option("what", flags->what,
                  "training: the loss curve of a run; noising: q(x_t|x_0) of a model's process")
      ->required();
  verb.add_option("from", flags->from, "a run folder (training), a model folder or name (noising)")
      ->required();
  verb.add_option("--data", flags->data, "noising: the images")->capture_default_str();
  verb.add_option("--rows", flags->rows, "noising: how many images")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  verb.add_option("--columns", flags->columns, "noising: how many places on the way")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  verb.add_option("--seed", flags->seed, "noising: of the noise")->capture_default_str();
  verb.add_option("--out", flags->out, "a .png (or .svg for training)")->required();
  verb.add_flag("--force", flags->force, "replace what exists");
  add_common(verb);
  verb.callback([flags] { plot(*flags); });
}

}  // namespace tweedie::cli

// tweedie plot: pictures of a training, of the forward process and of noise schedules.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "cli.h"
#include "tweedie/core/noise.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/files.h"
#include "tweedie/io/grid.h"
#include "tweedie/pipeline/chart_page.h"
#include "tweedie/pipeline/config.h"
#include "tweedie/pipeline/model_folder.h"
#include "tweedie/process/posterior.h"
#include "tweedie/process/process.h"

namespace fs = std::filesystem;

namespace tweedie::cli {
namespace {

struct PlotFlags {
  std::string what, data = "fashion-mnist@test", out;
  std::vector<std::string> from;
  int64_t rows = 4, columns = 11;
  uint64_t seed = 0, index = 0;
  bool force = false;
};

// "L_simple", by the config of the run's model.
std::string loss_name(const fs::path& run) {
  const fs::path card = run / "tweedie.json";
  if (!fs::exists(card)) return "Loss";
  const Json json = read_json(card);
  const Json::json_pointer loss("/config/objective/loss");
  return json.contains(loss) && json.at(loss).is_string() ? "L_" + json.at(loss).get<std::string>()
                                                          : "Loss";
}

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
  Chart chart{.title = loss_name(run), .x_label = "images seen", .y_label = "loss", .log_y = true};
  chart.series.push_back(loss);
  if (!heldout.points.empty()) chart.series.push_back(heldout);
  return chart;
}

DatasetPtr images_of(const PlotFlags& flags) {
  DatasetPtr data = open_dataset({.spec = flags.data, .split = Split::kTest});
  if (data->point_space()) fail("plot {}: {}: expected images", flags.what, data->describe());
  return data;
}

// Image `index` of the data as x_0, noised at each of `ks` with noise of its own, at the unit power
// of the vp path whatever the process's is.
std::vector<Image> noised(const PlotFlags& flags, const Process& process, const Image& image,
                          int64_t index, const std::vector<int64_t>& ks) {
  const Tensor x0 = to_tensor(image).unsqueeze(0);
  const Tensor eps = SeededNoise(flags.seed, index, x0.sizes().vec()).draw();
  std::vector<Image> row = {image};
  for (const int64_t k : ks) {
    const Level at = process.schedule().level(k);
    const Tensor x_t = process.add_noise(x0, eps, at::full({1}, k, at::kLong))[0];
    row.push_back(to_image(x_t / std::hypot(at.alpha, at.sigma)));
  }
  return row;
}

// As many places on the way as there are columns beside the image's own, evenly, the last included.
std::vector<int64_t> places(const PlotFlags& flags, int64_t T) {
  std::vector<int64_t> ks;
  for (int64_t column = 1; column < flags.columns; ++column)
    ks.push_back((T - 1) * column / (flags.columns - 1));
  return ks;
}

// Real images on their way to noise: a row an image, t growing to the right (DDPM Eq. 4).
Image noising(const PlotFlags& flags, const std::string& name) {
  const Model model = load_model(find_model(name));
  if (model.points()) fail("plot noising: {} is a model of points; expected images", name);
  const Process process(model.process_options());
  const DatasetPtr data = images_of(flags);
  const std::vector<int64_t> ks = places(flags, process.options().num_train_timesteps);
  std::vector<Image> cells;
  for (int64_t row = 0; row < flags.rows; ++row) {
    const Image image =
        fit_image(data->get(row % data->size()).image, static_cast<int>(model.height),
                  static_cast<int>(model.width), static_cast<int>(model.options().in_channels));
    for (Image& cell : noised(flags, process, image, row, ks)) cells.push_back(std::move(cell));
  }
  return tile(cells, static_cast<int>(flags.columns), 2);
}

Level vp_level(const Level& at) {
  const double power = std::hypot(at.alpha, at.sigma);
  return {at.alpha / power, at.sigma / power, at.t};
}

// Of a schedule by its name, with the default ends, or of a model's folder or name.
ProcessOptions schedule_options(const std::string& name) {
  const std::vector<std::string> models = known_models();
  if (fs::is_directory(name) || std::ranges::find(models, name) != models.end())
    return load_model(find_model(name)).process_options();
  if (name == "learned")
    fail("plot schedule learned: it has no formula; name a model that was trained with it");
  ProcessOptions options;
  if (name == "edm" || name == "ve" || name == "flow") {
    options.path = name == "flow" ? "flow" : "edm";
    options.prediction_type = name == "flow" ? "flow_prediction" : "edm";
    if (name == "ve")  // SDE App. C
      options.sigma_schedule = "exponential", options.sigma_min = 0.01, options.sigma_max = 50;
    return options;
  }
  std::vector<std::string> known = schedule_names();
  known.insert(known.end(), {"edm", "ve", "flow"});
  if (std::ranges::find(known, name) != known.end()) {
    options.beta_schedule = name;
    return options;
  }
  known.insert(known.end(), models.begin(), models.end());
  fail_unknown("schedule", name, known);
}

// abar, ln SNR, beta and beta tilde over t/T: what the panels of the page show of a schedule. Of a
// path that is not vp, those of the vp path with the same SNR.
std::vector<Chart::Series> curves(const std::string& name, const Schedule& schedule) {
  std::vector<Chart::Series> lines(4, {.name = name});
  lines[0].points = {{0, 1}};
  for (int64_t k = 0; k < schedule.size(); ++k) {
    const double t = static_cast<double>(k + 1) / static_cast<double>(schedule.size());
    const double snr = schedule.snr(k);
    const Level at = vp_level(schedule.level(k)), before = vp_level(schedule.level(k - 1));
    lines[0].points.emplace_back(t, at.alpha * at.alpha);
    if (snr > 0) lines[1].points.emplace_back(t, std::log(snr));
    lines[2].points.emplace_back(t, step_variance(at, before));
    lines[3].points.emplace_back(t, posterior(at, before).variance);
  }
  return lines;
}

// What schedules are, a panel a quantity, and what each does to an image: a row a schedule.
Page schedule_page(const PlotFlags& flags) {
  if (flags.from.empty())
    fail("plot schedule: name one at least; known: {}", fmt::join(schedule_names(), ", "));
  std::vector<Process> processes;
  for (const std::string& name : flags.from) processes.emplace_back(schedule_options(name));
  const DatasetPtr data = images_of(flags);
  const int64_t images = data->size(), index = static_cast<int64_t>(flags.index);
  if (flags.index >= static_cast<uint64_t>(images))
    fail("--index {}: outside 0..{}: {}", flags.index, images - 1, data->describe());
  const Image image = data->get(index).image;

  const auto panel = [](const char* title, bool log_y) {
    return Chart{.title = title, .x_label = "t / T", .log_y = log_y, .width = 580, .height = 320};
  };
  Page page{.title = "Noise schedules"};
  page.panels = {panel("share of signal: abar", false),
                 panel("ln SNR = ln(abar / (1 - abar))", false),
                 panel("variance of a step: beta", true),
                 panel("variance of the posterior: beta tilde", true)};
  for (size_t n = 0; n < processes.size(); ++n) {
    const Schedule& schedule = processes[n].schedule();
    const std::vector<Chart::Series> lines = curves(flags.from[n], schedule);
    for (size_t i = 0; i < lines.size(); ++i) page.panels[i].series.push_back(lines[i]);
    const std::vector<int64_t> ks = places(flags, schedule.size());
    page.strips.push_back({flags.from[n], noised(flags, processes[n], image, 0, ks)});
  }
  for (int64_t column = 0; column < flags.columns; ++column)
    page.captions.push_back(formatted("{:.2g}", double(column) / double(flags.columns - 1)));
  return page;
}

// The one name that training and noising take.
const std::string& only_name(const PlotFlags& flags, const char* kind) {
  if (flags.from.size() != 1)
    fail("plot {}: expected one {} and got {}", flags.what, kind, flags.from.size());
  return flags.from[0];
}

void plot(const PlotFlags& flags) {
  apply_common();
  const std::vector<std::string> known = {"training", "noising", "schedule"};
  if (std::ranges::find(known, flags.what) == known.end()) fail_unknown("plot", flags.what, known);
  require_free(flags.out, flags.force);
  if (flags.what == "training") {
    write_chart(flags.out, training_chart(only_name(flags, "run folder")));
  } else if (flags.what == "noising") {
    write_image(flags.out, noising(flags, only_name(flags, "model")));
  } else {
    write_page(flags.out, schedule_page(flags));
  }
  print("wrote " + flags.out);
  if (common.json) print_json({{"files", Json::array({flags.out})}});
}

}  // namespace

void add_plot(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand(
      "plot", "pictures: a training's loss, images being noised, noise schedules");
  auto flags = std::make_shared<PlotFlags>();
  verb.add_option("what", flags->what,
                  "training: the loss curve of a run; noising: q(x_t|x_0) of a model's process; "
                  "schedule: what schedules are over t, and an image noised by each")
      ->required();
  verb.add_option("from", flags->from,
                  "a run folder (training), a model folder or name (noising), names of schedules "
                  "or models (schedule; see tweedie list schedules)");
  verb.add_option("--data", flags->data, "noising, schedule: the images")->capture_default_str();
  verb.add_option("--rows", flags->rows, "noising: how many images")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  verb.add_option("--index", flags->index, "schedule: number of the image")->capture_default_str();
  verb.add_option("--columns", flags->columns, "noising, schedule: how many places on the way")
      ->check(CLI::Range(2, 64))
      ->capture_default_str();
  verb.add_option("--seed", flags->seed, "noising, schedule: of the noise")->capture_default_str();
  verb.add_option("--out", flags->out, "a .png (or .svg for training and schedule)")->required();
  verb.add_flag("--force", flags->force, "replace what exists");
  add_common(verb);
  verb.callback([flags] { plot(*flags); });
}

}  // namespace tweedie::cli

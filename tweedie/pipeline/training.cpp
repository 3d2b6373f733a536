#include "tweedie/pipeline/training.h"

#include <array>
#include <set>

#include "tweedie/io/files.h"
#include "tweedie/io/grid.h"
#include "tweedie/nn/state.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/points.h"
#include "tweedie/process/config_json.h"
#include "tweedie/train/step_loss.h"

namespace fs = std::filesystem;

namespace tweedie {
namespace {

constexpr int64_t kPreviewImages = 20, kPreviewSteps = 20, kPreviewPoints = 2000;

// What only images, or only points, can have.
void check_kind(const Config& config, const Dataset& data) {
  const bool points = data.point_space().has_value();
  if (points != config.model.is_mlp())
    fail("[data] model.type is {}: {} needs {}", config.model.is_mlp() ? "mlp" : "unet",
         data.describe(), points ? "mlp, a network for points" : "unet, a network for images");
  if (!points) return;
  if (config.data.flip) fail("[data] data.flip is true: points are not mirrored");
  if (config.process.clip_sample || config.process.thresholding)
    fail("[data] process.{} is true: points have no range to be clipped to; it must be false",
         config.process.clip_sample ? "clip_sample" : "thresholding");
}

// Fills in what the data decides and checks what must fit it.
void resolve(Config& config, const Dataset& data) {
  check_kind(config, data);
  if (config.data.size.empty()) {
    const auto [height, width] = data.common_size();
    if (height == 0)
      fail(
          "[data] data.size: the images of {} differ in size; say the size to train at, such as "
          "[64, 64]",
          config.data.source);
    config.data.size = {height, width};
  }
  if (config.data.size.size() != 2 || config.data.size[0] < 1 || config.data.size[1] < 1)
    fail("[data] data.size: expected [height, width], got {}", to_json(config.data.size).dump());
  config.model->sample_size = config.data.size;
  validate(config.model);
  validate(config.train);
  scheduler_class(config.process);  // a process that could not be saved is refused now
}

// A grid of images, or points as dots.
Image preview_of(Model& model, const GenerateRequest& request, const CancelToken& cancel) {
  const std::optional<PointSpace> space = model.points();
  if (!space) return tile(generate(model, request, {}, cancel), 10, 2);
  Tensor drawn;
  const auto keep = [&](int64_t, const Tensor& raw) { drawn = raw; };
  const Plan planned = plan(model, request);
  generate(model, request, planned, {.images = keep}, cancel);
  return draw_chart(
      scatter(to_points(drawn, *space), *space, planned.classes, model.card->classes));
}

// Says at the end, however it comes, what reading changed and which files it passed over.
class Skipped {
 public:
  Skipped(const Dataset& data, const Dataset* heldout, const NoticeFn& notice)
      : parts_{&data, heldout}, notice_(notice) {
    for (const Dataset* part : parts_)
      if (part)
        for (const std::string& line : part->skipped()) known_.insert(line);
  }
  ~Skipped() {
    for (const Dataset* part : parts_) {
      if (!part || !notice_) continue;
      for (const std::string& line : part->notes()) notice_("images changed: " + line);
      for (const std::string& line : part->skipped())
        if (!known_.count(line)) notice_("skipped: " + line);
    }
  }
  Skipped(const Skipped&) = delete;

 private:
  std::array<const Dataset*, 2> parts_;
  const NoticeFn& notice_;
  std::set<std::string> known_;  // told before the training
};

}  // namespace

Config resumed_config(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  if (!fs::exists(file))
    fail("{}: no such file; there is no run to resume, no checkpoint", file.string());
  return read_config(file);
}

Training::Training(Config config, fs::path folder, const std::string& device, bool tune)
    : config_(std::move(config)), folder_(std::move(folder)) {
  if (config_.data.source.empty()) fail("[data] data.source is empty: say what to train on");
  data_ = open_dataset(
      {.spec = config_.data.source, .split = Split::kTrain, .holdout = config_.data.holdout});
  heldout_ = open_heldout({.spec = config_.data.source, .holdout = config_.data.holdout});
  resolve(config_, *data_);
  net_ = build_network(config_.model, static_cast<uint64_t>(config_.train.seed));
  net_->to(device_of(device));
  LoaderOptions loader;
  loader.height = static_cast<int>(config_.data.size[0]);
  loader.width = static_cast<int>(config_.data.size[1]);
  loader.points = data_->point_space();
  loader.channels =
      loader.points ? data_->common_channels() : static_cast<int>(config_.model->in_channels);
  loader.flip = config_.data.flip;
  loader.crop = config_.data.crop == "random" ? Crop::kRandom : Crop::kCenter;
  trainer_ =
      std::make_unique<Trainer>(TrainSetup{.net = net_,
                                           .process = Process(first_process(config_.process)),
                                           .objective = config_.objective,
                                           .train = config_.train,
                                           .data = data_,
                                           .heldout = heldout_,
                                           .loader = loader,
                                           .folder = folder_,
                                           .tune = tune});
}

std::vector<std::string> Training::facts() const {
  std::vector<std::string> lines = {"data        " + data_->describe()};
  lines.push_back(heldout_ ? "held out    " + heldout_->describe()
                           : "held out    nothing: no held-out loss");
  const std::vector<std::string> skipped = data_->skipped();
  if (!skipped.empty())
    lines.push_back(
        formatted("skipped     {} files, the first: {}", skipped.size(), skipped.front()));
  for (const std::string& line : trainer_->plan().lines()) lines.push_back(line);
  return lines;
}

std::string Training::time_needed() {
  const double step = trainer_->seconds_per_step();
  const TrainPlan plan = trainer_->plan();
  const double images = static_cast<double>(plan.batch_size * plan.accumulate);
  const std::string rate = formatted("time: {:.3g} s a step, {:.3g} images/s", step, images / step);
  if (!plan.steps)
    return rate + formatted("; about {:.0f} steps in {:g} minutes", 60 * *plan.minutes / step,
                            *plan.minutes);
  const double hours = static_cast<double>(*plan.steps) * step / 3600;
  return rate + formatted("; about {:.3g} {} for {} steps, previews and checkpoints aside",
                          hours < 1 ? 60 * hours : hours, hours < 1 ? "minutes" : "hours",
                          *plan.steps);
}

TrainState Training::run(const ProgressFn& progress, const NoticeFn& notice,
                         const CancelToken& cancel, bool resume, bool force) {
  require_writable(folder_);
  if (force && !resume) {
    for (const char* left :
         {"checkpoints", "log.jsonl", "previews", "tensorboard", "unet", "denoiser", "scheduler",
          "model_index.json", "tweedie.json", "config.json"})
      fs::remove_all(folder_ / left);
  }
  const Skipped report(*data_, heldout_.get(), notice);
  return trainer_->run(
      {.on_begin = [this] { write_json(folder_ / "config.json", to_json(config_)); },
       .progress = progress,
       .notice = notice,
       .on_checkpoint = [this](const TrainView& view) { save(view); },
       .on_preview = [&](const TrainView& view) { preview(view, cancel); }},
      cancel, resume);
}

ModelCard Training::card(const TrainState& state) const {
  ModelCard card;
  card.version = TWEEDIE_VERSION;
  card.classes = config_.model->conditional() ? data_->classes() : std::vector<std::string>{};
  if (config_.objective.label_dropout > 0) card.null_class = *config_.model->num_class_embeds - 1;
  const int64_t T = config_.process.num_train_timesteps;
  card.sampler = config_.sample.sampler;
  card.steps = std::min(T, config_.sample.steps.value_or(card.sampler == "ddpm" ? T : 50));
  card.data = {
      {"source", config_.data.source}, {"what", data_->describe()}, {"images", data_->size()}};
  if (const auto space = data_->point_space()) card.data["points"] = to_json(*space);
  card.training = {{"steps", state.step},
                   {"images", state.images},
                   {"seconds", state.seconds},
                   {"precision", state.precision}};
  if (state.heldout) card.training["heldout"] = to_json(*state.heldout);
  card.config = to_json(config_);
  return card;
}

void Training::save(const TrainView& view) const {
  save_model(folder_, config_.model, view.ema, view.process, card(view.state));
}

// The same seeds and classes every time, so that one sees the training go on.
void Training::preview(const TrainView& view, const CancelToken& cancel) const {
  Model model;
  model.net = view.net;
  const std::string of_process = scheduler_class(view.process);
  model.scheduler =
      scheduler_json(view.process, of_process == "DDPMScheduler" ? "DDIMScheduler" : of_process);
  model.card = card(view.state);
  std::tie(model.height, model.width) = std::pair(config_.data.size[0], config_.data.size[1]);
  const int64_t steps = std::min(kPreviewSteps, config_.process.num_train_timesteps);
  const int64_t n = model.points() ? kPreviewPoints : kPreviewImages;
  const GenerateRequest request{.n = n, .batch = n, .sampler = "ddim", .steps = steps};
  fs::create_directories(folder_ / "previews");
  const fs::path file = folder_ / "previews" / formatted("step_{:07}.png", view.state.step);
  write_image(file, preview_of(model, request, cancel),
              {{"tweedie", formatted("step {}", view.state.step)}});
  if (view.show) view.show("preview", file);
}

}  // namespace tweedie

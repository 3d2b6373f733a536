#include "tweedie/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tweedie/core/rng.h"
#include "tweedie/io/files.h"
#include "tweedie/io/probe.h"
#include "tweedie/nn/state.h"
#include "tweedie/train/checks.h"
#include "tweedie/train/ema.h"
#include "tweedie/train/log.h"
#include "tweedie/train/lr.h"
#include "tweedie/train/optimizer.h"
#include "tweedie/train/precision.h"
#include "tweedie/train/step_loss.h"
#include "tweedie/train/tensorboard.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Parameters trained_parameters(const Network& net) {
  Parameters out;
  for (const auto& item : net->named_parameters()) {
    if (!item.value().requires_grad()) continue;
    out.names.push_back(item.key());
    out.tensors.push_back(item.value());
  }
  return out;
}

at::Generator generator_for(at::Device device) {
  return at::globalContext().defaultGenerator(device).clone();
}

// The EMA weights in the network, in eval mode and without a graph, while it lives.
class WithEma {
 public:
  WithEma(const Network& net, Ema& ema) : net_(net), ema_(ema) {
    ema_.swap();
    net_->eval();
  }
  ~WithEma() {
    ema_.swap();
    net_->train();
  }
  WithEma(const WithEma&) = delete;

 private:
  Network net_;
  Ema& ema_;
  at::NoGradGuard no_grad_;
};

}  // namespace

struct StepReport {
  double loss, gradient_norm, learning_rate;
};

struct Trainer::State {
  explicit State(TrainSetup s)
      : setup((check_setup(s), std::move(s))),
        parameters(trained_parameters(setup.net)),
        device(parameters.tensors.at(0).device()),
        optimizer(parameters, train),
        ema(parameters.tensors, train),
        loss(make_step_loss(setup.objective, setup.process, device,
                            setup.loader.points ? Decoder::kContinuous : Decoder::kDiscretised,
                            train.schedule_learning_rate, static_cast<uint64_t>(train.seed))),
        dropout(generator_for(device)) {
    setup.net->set_dropout_generator(dropout);
    setup.loader.batch_size = train.batch_size;
    setup.loader.seed = static_cast<uint64_t>(train.seed);
    setup.loader.workers = static_cast<int>(train.workers);
    setup.loader.shuffle = true;
  }

  StepReport step(Loader& loader);
  void refuse_nonfinite(const StepReport& report) const;
  Heldout evaluate();
  bool finished() const;
  void begin(const NoticeFn& notice, bool resume);
  void restore(const NoticeFn& notice);
  void decide_plan(const NoticeFn& notice);
  fs::path save();
  void show(const std::function<void(const TrainView&)>& callback, EventWriter& events, bool last);
  void write_log(TrainLog& log, EventWriter& events, const StepReport& report, double rate,
                 bool evaluated);
  Progress progress(const StepReport& report, double rate) const;

  TrainSetup setup;
  const TrainOptions& train = setup.train;
  TrainState at;
  std::optional<int64_t> total;  // steps
  Parameters parameters;
  at::Device device;
  AdamW optimizer;
  Ema ema;
  std::unique_ptr<StepLoss> loss;
  at::Generator dropout;
};

// The mean over `accumulate` batches, with clipping and EMA.
StepReport Trainer::State::step(Loader& loader) {
  const auto seed = static_cast<uint64_t>(train.seed);
  const int64_t null_class = setup.net->options().num_class_embeds.value_or(0) - 1;
  const bool conditional = setup.net->options().conditional();
  const LabelledNetwork network = [&](const Tensor& x, const Tensor& t, const Tensor& labels) {
    Autocast autocast(at.precision, device);
    return setup.net->forward(x, t, conditional ? labels.to(device) : Tensor()).to(at::kFloat);
  };
  const double share = 1 / double(train.accumulate);
  Tensor mean_loss = at::zeros({}, at::TensorOptions(at::kFloat).device(device));
  optimizer.zero_grad();
  for (int64_t part = 0; part < train.accumulate; ++part) {
    const Batch batch = loader.next();
    dropout.set_current_seed(Rng(seed, stream_of("dropout", at.step, part)).bits());
    mean_loss += share * loss->backward(network, batch, null_class, share,
                                        Rng(seed, stream_of("train", at.step, part)));
  }
  const Tensor numbers = at::stack({mean_loss, optimizer.gradient_norm()}).cpu();
  const StepReport report{numbers[0].item<float>(), numbers[1].item<float>(),
                          learning_rate(train, at.step, total)};
  refuse_nonfinite(report);
  optimizer.step({.learning_rate = report.learning_rate,
                  .k = at.step + 1,
                  .gradient_scale = clip_factor(report.gradient_norm, train.grad_clip),
                  .ema = &ema});
  loss->end_step(report.learning_rate / std::max(train.learning_rate, 1e-300));
  at.step += 1;
  at.images += train.images_per_step();
  at.loss_sum += report.loss, at.norm_sum += report.gradient_norm, at.window += 1;
  return report;
}

void Trainer::State::refuse_nonfinite(const StepReport& report) const {
  if (std::isfinite(report.loss) && std::isfinite(report.gradient_norm)) return;
  const bool loss = !std::isfinite(report.loss);
  const fs::path newest = newest_checkpoint(setup.folder);
  fail_system("[train] {} is {} at step {} (images {}..{}, learning rate {:.3g}); {}",
              loss ? "loss" : "gradient norm", std::abs(loss ? report.loss : report.gradient_norm),
              at.step + 1, at.images, at.images + train.images_per_step() - 1, report.learning_rate,
              newest.empty() ? "there is no checkpoint yet"
                             : "the last good checkpoint is " + newest.string());
}

Heldout Trainer::State::evaluate() {
  WithEma with(setup.net, ema);
  const bool conditional = setup.net->options().conditional();
  const LabelledNetwork network = [&](const Tensor& x, const Tensor& t, const Tensor& labels) {
    return setup.net->forward(x, t, conditional ? labels : Tensor());
  };
  return heldout_loss(network, loss->process(), setup.heldout, train.eval_images, setup.loader,
                      device);
}

bool Trainer::State::finished() const {
  if (train.minutes) return at.seconds >= 60 * *train.minutes;
  return at.step >= *total;
}

void Trainer::State::begin(const NoticeFn& notice, bool resume) {
  require_writable(setup.folder);
  at = {};
  at.model = setup.net->config();
  at.process = to_json(setup.process.options());
  at.objective = to_json(setup.objective);
  at.train = to_json(train);
  at.data = {{"what", setup.data->describe()}, {"images", setup.data->size()},
             {"height", setup.loader.height},  {"width", setup.loader.width},
             {"flip", setup.loader.flip},      {"random_crop", setup.loader.crop == Crop::kRandom}};
  at.threads = at::get_num_threads();
  total = total_steps(train);
  if (resume) return restore(notice);
  if (const fs::path newest = newest_checkpoint(setup.folder); !newest.empty())
    fail("[train] {} holds a training already ({}): resume it or choose another folder",
         setup.folder.string(), newest.filename().string());
  at.precision = resolve_precision(train.precision, device, notice);
  decide_plan(notice);
}

// That of the checkpoint if there is one.
void Trainer::State::decide_plan(const NoticeFn& notice) {
  if (!device.is_cpu()) return;
  const auto [height, width] = std::pair(setup.loader.height, setup.loader.width);
  if (setup.tune && at.precision != "bf16") {
    at.plan =
        plan_by_measurement(setup.net, height, width, train.batch_size, /*gradients=*/true, notice);
  } else if (!at.plan) {
    at.plan = plan_by_rule(setup.net, height, width, train.batch_size);
  } else if (const std::string foreign = foreign_plan_notice(*at.plan);
             !foreign.empty() && notice) {
    notice(foreign);
  }
  if (setup.tune && at.precision == "bf16" && notice)
    notice("nothing to tune: in bf16 all convolutions are LibTorch's");
  use_plan(setup.net, *at.plan);
}

void Trainer::State::restore(const NoticeFn& notice) {
  const Checkpoint saved = load_newest_checkpoint(setup.folder, notice);
  check_same(saved.state, at, setup.folder, notice);
  const std::string folder =
      (setup.folder / "checkpoints" / formatted("step_{}", saved.state.step)).string();
  load_state(*setup.net, saved.ema, folder + "/ema.safetensors");
  ema.load(parameters.tensors);
  load_state(*setup.net, saved.weights, folder + "/weights.safetensors");
  optimizer.load(saved.optimizer, folder + "/optimizer.safetensors");
  if (!loss->load(saved.loss, folder + "/loss.safetensors") && notice)
    notice("the checkpoint does not hold what the objective remembers: that begins anew");
  TrainState state = saved.state;
  state.objective = at.objective, state.train = at.train, state.data = at.data;
  state.threads = at.threads;
  at = std::move(state);
  if (train.precision != "auto") at.precision = train.precision;
  decide_plan(notice);
  total = total_steps(train, at.step, at.images);
  if (notice) notice(formatted("resumed at step {} from {}", at.step, folder));
}

fs::path Trainer::State::save() {
  Checkpoint out{at, state_of(*setup.net), {}, optimizer.state(), loss->state()};
  {
    WithEma with(setup.net, ema);
    out.ema = state_of(*setup.net);
  }
  return save_checkpoint(setup.folder, out, train.keep_checkpoints);
}

void Trainer::State::show(const std::function<void(const TrainView&)>& callback,
                          EventWriter& events, bool last) {
  if (!callback) return;
  WithEma with(setup.net, ema);
  const TensorMap weights = state_of(*setup.net);
  const ProcessOptions process = loss->process().options();
  callback(
      {at, setup.net, weights, process, last, [&](const std::string& tag, const fs::path& png) {
         const auto shape = probe_picture(png);
         if (!shape) fail("[train] {}: not a picture", png.string());
         events.image(at.step, tag, read_file(png), shape->width, shape->height, shape->channels);
       }});
}

void Trainer::State::write_log(TrainLog& log, EventWriter& events, const StepReport& report,
                               double rate, bool evaluated) {
  const double loss = at.loss_sum / double(at.window), norm = at.norm_sum / double(at.window);
  Json line = {{"step", at.step},
               {"images", at.images},
               {"epoch", double(at.images) / double(setup.data->size())},
               {"loss", loss},
               {"grad_norm", norm},
               {"lr", report.learning_rate},
               {"images_per_second", rate},
               {"seconds", at.seconds}};
  std::vector<std::pair<std::string, double>> scalars = {{"loss/train", loss},
                                                         {"grad_norm", norm},
                                                         {"lr", report.learning_rate},
                                                         {"images_per_second", rate}};
  if (evaluated) {
    line["heldout"] = to_json(*at.heldout);
    for (const auto& [key, value] : line["heldout"].items())
      scalars.emplace_back("loss/heldout_" + key, value.get<double>());
  }
  log.write(line);
  events.scalars(at.step, scalars);
  at.loss_sum = at.norm_sum = 0, at.window = 0;
}

Progress Trainer::State::progress(const StepReport& report, double rate) const {
  Progress out{at.step, total.value_or(0), "step", at.seconds, {}};
  if (train.minutes)
    out.done = int64_t(at.seconds), out.total = int64_t(60 * *train.minutes), out.unit = "second";
  out.values = {{"loss", report.loss}, {"grad_norm", report.gradient_norm}, {"images/s", rate}};
  return out;
}

Trainer::Trainer(TrainSetup setup) : state_(std::make_unique<State>(std::move(setup))) {}
Trainer::~Trainer() = default;

TrainPlan Trainer::plan() const {
  const TrainSetup& s = state_->setup;
  return plan_training(s.train, *s.net, s.data->size(), s.loader.height, s.loader.width, s.folder);
}

double Trainer::seconds_per_step(int64_t steps) {
  State& s = *state_;
  s.total = total_steps(s.train);
  s.at.precision = resolve_precision(s.train.precision, s.device, {});
  s.decide_plan({});
  s.setup.net->train();
  Loader loader(s.setup.data, s.setup.loader);
  std::vector<double> seconds;
  for (int64_t i = 0; i <= steps; ++i) {
    const double start = now();
    s.step(loader);
    if (i > 0) seconds.push_back(now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

TrainState Trainer::run(const TrainCallbacks& callbacks, const CancelToken& cancel, bool resume) {
  State& s = *state_;
  s.begin(callbacks.notice, resume);
  if (callbacks.on_begin) callbacks.on_begin();
  s.setup.net->train();
  TrainLog log(s.setup.folder / "log.jsonl", s.at.step);
  EventWriter events(s.setup.folder / "tensorboard", s.at.step + 1);
  Loader loader(s.setup.data, s.setup.loader, s.at.images);

  const double start = now() - s.at.seconds;
  double line_seconds = s.at.seconds;  // when and where the log's last line was written
  int64_t line_images = s.at.images;
  bool last = s.finished();
  if (last) s.show(callbacks.on_checkpoint, events, last);
  while (!last) {
    const StepReport report = s.step(loader);
    s.at.seconds = now() - start;
    const double rate =
        double(s.at.images - line_images) / std::max(1e-9, s.at.seconds - line_seconds);
    if (callbacks.progress) callbacks.progress(s.progress(report, rate));

    RECORD_USER_SCOPE("tweedie::aside");  // of the step
    last = s.finished();
    const auto due = [&](int64_t every) {
      return every > 0 && (last || (!cancel.cancelled() && s.at.step % every == 0));
    };
    try {
      const bool evaluated = s.setup.heldout && due(s.train.eval_every);
      if (evaluated) s.at.heldout = s.evaluate();
      if (evaluated || last || s.at.step % s.train.log_every == 0) {
        s.write_log(log, events, report, rate, evaluated);
        s.at.seconds = now() - start;
        line_seconds = s.at.seconds, line_images = s.at.images;
      }
      if (due(s.train.preview_every)) s.show(callbacks.on_preview, events, last);
    } catch (...) {  // the steps so far are not lost with it; an interrupt is saved below
      if (!cancel.cancelled()) {
        s.save();
        throw;
      }
    }
    const bool stopped = !last && cancel.cancelled();
    last = last || stopped;
    s.at.seconds = now() - start;
    if (last || s.at.step % s.train.checkpoint_every == 0) {
      const fs::path folder = s.save();
      if (callbacks.notice) callbacks.notice("checkpoint written: " + folder.string());
      s.show(callbacks.on_checkpoint, events, last);
    }
    if (stopped)
      throw Error(Error::Kind::kInterrupted,
                  formatted("interrupted after step {}; the training is saved and can be resumed",
                            s.at.step));
  }
  return s.at;
}

}  // namespace tweedie

// tweedie train: a model from a config and images.
#include <filesystem>

#include "cli.h"
#include "profiling.h"
#include "tweedie/pipeline/training.h"

namespace fs = std::filesystem;

namespace tweedie::cli {
namespace {

struct TrainFlags {
  std::string config, out, data;
  std::vector<std::string> set;
  std::optional<int64_t> steps, images, seed;
  std::optional<double> minutes;
  std::optional<std::string> precision;
  bool resume = false, force = false, tune = false, profile = false, dry_run = false;
};

// The flags that are short for --set.
std::vector<std::string> assignments(const TrainFlags& flags) {
  std::vector<std::string> all = flags.set;
  if (!flags.data.empty()) all.push_back("data.source=" + Json(flags.data).dump());
  if (flags.steps) all.push_back(formatted("train.steps={}", *flags.steps));
  if (flags.images) all.push_back(formatted("train.images={}", *flags.images));
  if (flags.minutes) all.push_back(formatted("train.minutes={}", *flags.minutes));
  if (flags.seed) all.push_back(formatted("train.seed={}", *flags.seed));
  if (flags.precision) all.push_back("train.precision=" + Json(*flags.precision).dump());
  return all;
}

Config config_of(const TrainFlags& flags) {
  if (!flags.config.empty()) return read_config(flags.config, assignments(flags));
  Config config;
  if (flags.resume) {
    config = resumed_config(flags.out);
  } else {
    if (flags.data.empty()) fail("train: a config, or --data and a budget, such as --minutes 30");
    const DatasetPtr data = open_dataset({.spec = flags.data});
    config = preset_for(*data, flags.data, minutes_of(*data, assignments(flags)));
  }
  apply_assignments(config, assignments(flags));
  return config;
}

// What would happen, and nothing of it.
void dry_run(const TrainFlags& flags) {
  if (flags.resume) fail("--dry-run: nothing would be resumed; leave --resume out");
  Training training(config_of(flags), flags.out.empty() ? "RUN" : flags.out, common.device);
  std::vector<std::string> facts = training.facts();
  if (!training.config().about.empty())
    facts.insert(facts.begin(), "about       " + training.config().about);
  facts.push_back(training.time_needed());
  for (const std::string& line : facts) print(line);
  if (common.json) print_json({{"facts", facts}, {"config", to_json(training.config())}});
}

void train(const TrainFlags& flags) {
  apply_common();
  if (flags.dry_run) return dry_run(flags);
  if (flags.out.empty()) fail("train: --out DIR is missing: where the run is written");
  std::error_code error;
  if (fs::exists(flags.out, error) && !fs::is_directory(flags.out, error))
    fail("{}: a file; --out names the run's folder", flags.out);
  const bool used = fs::exists(flags.out, error) &&
                    !(fs::is_directory(flags.out, error) && fs::is_empty(flags.out));
  if (used && !flags.resume && !flags.force)
    fail("{}: exists already; --resume continues it, --force replaces it", flags.out);
  if (flags.resume && newest_checkpoint(flags.out).empty())
    fail("{}: holds no checkpoint to resume from", flags.out);
  if (flags.tune) require_cpu("--tune");
  if (flags.profile) require_cpu("--profile");
  Training training(config_of(flags), flags.out, common.device, flags.tune);
  if (flags.tune && training.config().train.precision == "bf16")
    fail("--tune: in bf16 all convolutions are LibTorch's; it needs train.precision fp32 or auto");
  for (const std::string& line : training.facts()) notice(line);
  if (flags.config.empty() && !flags.resume)
    notice("config      " + text_of(to_json(training.config())));

  ProgressBar bar("training");
  Profiling profiling(flags.profile, bar);
  const TrainState state =
      training.run(std::ref(profiling), notice, interrupts(), flags.resume, flags.force);
  profiling.end();
  print(formatted("trained {} steps, {} images in {}; model in {}", state.step, state.images,
                  duration(state.seconds), flags.out));
  if (!common.json) return;
  Json json = {{"out", flags.out},
               {"steps", state.step},
               {"images", state.images},
               {"seconds", state.seconds},
               {"precision", state.precision}};
  if (state.heldout) json["heldout"] = to_json(*state.heldout);
  if (flags.tune && state.plan) json["plan"] = to_json(*state.plan);
  profiling.add_to(json);
  print_json(json);
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("train", "train a model");
  auto flags = std::make_shared<TrainFlags>();
  verb.add_option(
      "config", flags->config,
      "a JSON file or a known name (tweedie list configs); without it --data picks a preset");
  verb.add_option("--out", flags->out, "the run folder: model, checkpoints, log, previews");
  verb.add_option("--set", flags->set,
                  "KEY=VALUE over the config (tweedie list keys); may be repeated")
      ->take_all();
  verb.add_option("--data", flags->data, "a dataset spec (tweedie list data), over the config's");
  verb.add_option("--steps", flags->steps, "budget in optimiser steps, over the config's");
  verb.add_option("--images", flags->images, "budget in images, over the config's");
  verb.add_option("--minutes", flags->minutes, "budget in minutes, over the config's");
  verb.add_option("--seed", flags->seed, "of weights, order, noise and dropout");
  verb.add_option("--precision", flags->precision, "fp32, bf16 or auto (measures)");
  verb.add_flag("--resume", flags->resume, "continue the run in --out, bit for bit");
  verb.add_flag("--force", flags->force, "replace the run in --out");
  verb.add_flag(
      "--dry-run", flags->dry_run,
      "only say what would happen: parameters, images, memory, and the time by a few steps");
  verb.add_flag("--tune", flags->tune,
                "measure first which convolution is faster for each shape, forward and backward; "
                "--resume keeps the choice");
  verb.add_flag("--profile", flags->profile,
                "say at the end where the time went, by kind of layer, from the second step on");
  add_common(verb);
  verb.callback([flags] { train(*flags); });
}

}  // namespace tweedie::cli

#include "tweedie/pipeline/training.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_unet.h"
#include "tweedie/io/files.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/pipeline/evaluate.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/invert.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

Config tiny_config(int64_t steps = 4) {
  at::set_num_threads(1);
  Config config;
  config.data.source = "shapes:8";
  config.model = testing::tiny_unet(3, {8, 8});
  config.model->num_class_embeds =
      static_cast<int64_t>(open_dataset({.spec = "shapes:8"})->classes().size()) + 1;
  config.objective.label_dropout = 0.2;
  config.train.steps = steps;
  config.train.batch_size = 2;
  config.train.warmup_steps = 0;
  config.train.checkpoint_every = 2;
  config.train.preview_every = 0;
  config.train.eval_every = 2;
  config.train.eval_images = 4;
  return config;
}

TrainState train(Config config, const fs::path& folder, bool resume = false, bool force = false) {
  return Training(std::move(config), folder).run({}, {}, {}, resume, force);
}

std::string weights_of(const fs::path& folder) {
  return read_file(folder / "unet/diffusion_pytorch_model.safetensors");
}

}  // namespace

TEST(Training, LeavesAModelThatKnowsWhereItComesFrom) {
  const Scratch scratch;
  const fs::path folder = scratch / "run";
  Config config = tiny_config();
  config.train.preview_every = 4;
  const TrainState state = train(config, folder);
  EXPECT_EQ(state.step, 4);
  EXPECT_EQ(state.images, 8);

  Model model = load_model(folder);
  EXPECT_EQ(model.height, 8);
  ASSERT_TRUE(model.card);
  EXPECT_EQ(model.card->null_class, *config.model->num_class_embeds - 1);
  EXPECT_EQ(static_cast<int64_t>(model.card->classes.size()), *model.card->null_class);
  EXPECT_EQ(model.card->training["images"], 8);
  EXPECT_TRUE(model.card->training["heldout"].contains("q4"));
  EXPECT_EQ(generate(model, {.n = 2, .steps = 2}).size(), 2u);

  config.data.size = {8, 8};  // found out from the data and written down
  config.model->sample_size = config.data.size;
  EXPECT_EQ(to_json(read_config(folder / "config.json")), to_json(config));
  EXPECT_TRUE(fs::exists(folder / "previews/step_0000004.png"));
}

TEST(Training, TheModelIsTheMovingAverage) {
  const Scratch scratch;
  const fs::path folder = scratch / "run";
  train(tiny_config(), folder);
  const TensorMap model = read_safetensors(folder / "unet/diffusion_pytorch_model.safetensors");
  const TensorMap ema = read_safetensors(folder / "checkpoints/step_4/ema.safetensors");
  const TensorMap raw = read_safetensors(folder / "checkpoints/step_4/weights.safetensors");
  EXPECT_TRUE(at::equal(model.at("conv_in.weight"), ema.at("conv_in.weight")));
  EXPECT_FALSE(at::equal(model.at("conv_in.weight"), raw.at("conv_in.weight")));
}

TEST(Training, ResumedFromItsOwnConfigEndsWhereAnUninterruptedOneDoes) {
  const Scratch scratch;
  train(tiny_config(4), scratch / "whole");
  train(tiny_config(2), scratch / "halves");
  EXPECT_NE(weights_of(scratch / "whole"), weights_of(scratch / "halves"));
  Config config = resumed_config(scratch / "halves");
  apply_assignments(config, {"train.steps=4"});
  train(config, scratch / "halves", true);
  EXPECT_EQ(weights_of(scratch / "whole"), weights_of(scratch / "halves"));
  EXPECT_TRUE(contains(message_of([&] { resumed_config(scratch / "none"); }), "no run to resume"));
}

TEST(Training, KeepsAnEarlierRunUnlessForced) {
  const Scratch scratch;
  const fs::path folder = scratch / "run";
  train(tiny_config(2), folder);
  const std::string before = weights_of(folder);
  Config other = tiny_config(2);
  other.train.seed = 1;
  EXPECT_TRUE(contains(message_of([&] { train(other, folder); }), "holds a training already"));
  EXPECT_EQ(weights_of(folder), before);
  train(other, folder, false, true);
  EXPECT_NE(weights_of(folder), before);
}

TEST(Training, HoldsNothingOutOfATestSplit) {
  const Scratch scratch;
  Config config = tiny_config(2);
  config.data.source = "shapes:8@test";
  EXPECT_FALSE(train(config, scratch / "run").heldout.has_value());
  EXPECT_TRUE(contains(Training(config, scratch / "other").facts().at(1), "nothing"));
}

// A few steps each, through the folder, to samples and both likelihoods.
TEST(Training, EveryKindOfProcessGoesThroughItsFolderToSamplesAndLikelihoods) {
  const Scratch scratch;
  struct Kind {
    std::string name, scheduler;  // diffusers' class
    std::function<void(Config&)> choose;
  };
  const std::vector<Kind> kinds = {
      {"edm", "EDMEulerScheduler",
       [](Config& c) { c.process.path = c.process.prediction_type = "edm"; }},
      {"flow", "FlowMatchEulerDiscreteScheduler",
       [](Config& c) { c.process.path = "flow", c.process.prediction_type = "flow_prediction"; }},
      {"hybrid", "DDPMScheduler",
       [](Config& c) {
         c.process.variance_type = "learned_range", c.objective.loss = "hybrid";
         c.model->out_channels = 6;
       }},
      {"learned", "DDPMScheduler",
       [](Config& c) { c.process.beta_schedule = "learned", c.objective.loss = "vlb"; }}};
  for (const Kind& kind : kinds) {
    SCOPED_TRACE(kind.name);
    const fs::path folder = scratch / kind.name;
    Config config = tiny_config(3);
    config.process.num_train_timesteps = 20;
    config.process.beta_start = 0.005, config.process.beta_end = 0.4;
    kind.choose(config);
    train(config, folder);

    const Json scheduler = read_json(folder / "scheduler/scheduler_config.json");
    EXPECT_EQ(scheduler.at("_class_name").get<std::string>(), kind.scheduler);
    const Json index = read_json(folder / "model_index.json");
    EXPECT_EQ(index.at("scheduler").at(1).get<std::string>(), kind.scheduler);
    EXPECT_EQ(scheduler.at("variance_type").get<std::string>(), config.process.variance_type);
    const bool trained =
        scheduler.contains("trained_betas") && scheduler["trained_betas"].is_array();
    EXPECT_EQ(trained, kind.name == "learned");
    if (trained) {
      EXPECT_EQ(scheduler["trained_betas"].size(), 20u);
      EXPECT_EQ(scheduler["beta_schedule"].get<std::string>(), "linear");
    }

    Model model = load_model(folder);
    const ProcessOptions process = model.process_options();
    EXPECT_EQ(process.path, config.process.path);
    EXPECT_EQ(process.prediction_type, config.process.prediction_type);
    EXPECT_EQ(process.variance_type, config.process.variance_type);
    EXPECT_EQ(process.num_train_timesteps, 20);
    for (const char* sampler : {"ddim", "ddpm"})  // which throw where x is not finite
      EXPECT_EQ(generate(model, {.n = 2, .sampler = sampler, .steps = 3}).size(), 2u) << sampler;

    EvaluateRequest request{.data = "shapes:8"};
    request.bpd.images = 4, request.bpd.t_per_image = 2;
    request.ode.images = 2, request.ode.steps = 4;
    const Bpd bound = evaluate_bpd(model, request).bpd;
    EXPECT_TRUE(std::isfinite(bound.total)) << bound.total;
    EXPECT_GT(bound.total, 0);  // of levels, not of a density
    EXPECT_EQ(bound.vlb.size(), 20u);
    const OdeBpd ode = evaluate_bpd_ode(model, request).bpd;
    EXPECT_TRUE(std::isfinite(ode.total)) << ode.total;
    EXPECT_EQ(ode.dequantisation, "variational");
  }
}

TEST(Training, RefusesWhatDoesNotFitTogetherAndWritesNothing) {
  const Scratch scratch;
  const auto fault = [&](const std::function<void(Config&)>& change) {
    Config config = tiny_config();
    change(config);
    const std::string message = message_of([&] { Training(config, scratch / "run"); });
    EXPECT_FALSE(fs::exists(scratch / "run")) << message;
    return message;
  };
  EXPECT_EQ(fault([](Config&) {}), "");
  EXPECT_TRUE(contains(fault([](Config& c) { c.data.source = ""; }), "data.source is empty"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.data.size = {8}; }), "expected [height, width]"));
  EXPECT_TRUE(
      contains(fault([](Config& c) { c.model->num_class_embeds = 3; }), "needs a null class"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.model->num_class_embeds.reset(); }),
                       "the network has no classes"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.objective.label_dropout = 0; }), "so it must be"));
  EXPECT_TRUE(
      contains(fault([](Config& c) { c.model->time_embedding_type = "fourier"; }), "fourier"));
  EXPECT_TRUE(contains(fault([](Config& c) {
                         c.model->time_embedding_type = "learned";
                         c.model->num_train_timesteps = 100;
                       }),
                       "the process has 1000 timesteps"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.train.images = 5; }), "train.images"));
}

TEST(Training, RecommendsTheSamplerOfItsConfig) {
  const Scratch scratch;
  Config config = tiny_config(2);
  config.process.num_train_timesteps = 30;
  EXPECT_THROW(apply_assignments(config, {"sample.sampler=dimm"}), Error);
  apply_assignments(config, {"sample.sampler=ddpm"});
  train(config, scratch / "all");
  EXPECT_EQ(load_model(scratch / "all").card->sampler, "ddpm");
  EXPECT_EQ(load_model(scratch / "all").card->steps, 30);
  apply_assignments(config, {"sample.sampler=heun", "sample.steps=9"});
  train(config, scratch / "few");
  EXPECT_EQ(load_model(scratch / "few").card->sampler, "heun");
  EXPECT_EQ(load_model(scratch / "few").card->steps, 9);
}

// The noise is that of the grid that draws from it again.
TEST(Training, InvertsOnEveryPath) {
  const Scratch scratch;
  for (const char* path : {"edm", "flow"}) {
    Config config = tiny_config(2);
    config.process.path = path;
    config.process.prediction_type = path == std::string("edm") ? "edm" : "flow_prediction";
    config.process.clip_sample = false;
    train(config, scratch / path);
    Model model = load_model(scratch / path);
    const Tensor images = at::linspace(-0.9, 0.9, 2 * 3 * 64).view({2, 3, 8, 8});
    const Tensor noise =
        invert(model, {.images = images, .steps = 20, .classes = {0, 1}, .iterations = 20});
    std::vector<Tensor> drawn;
    const GenerateRequest request{.n = 2,
                                  .sampler = "ddim",
                                  .steps = 20,
                                  .classes = {0, 1},
                                  .clip_sample = false,
                                  .noise_init = noise};
    generate(model, request, plan(model, request),
             {.images = [&](int64_t, const Tensor& raw) { drawn.push_back(raw.clone()); }});
    EXPECT_LT((at::cat(drawn) - images).abs().max().item<double>(), 1e-3) << path;
  }
}

}  // namespace tweedie

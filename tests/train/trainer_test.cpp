#include "tests/train/tiny_training.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/errors.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/nn/state.h"
#include "tweedie/train/draws.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

TrainState train(TrainSetup setup, bool resume = false, const TrainCallbacks& callbacks = {},
                 const CancelToken& cancel = {}) {
  return Trainer(std::move(setup)).run(callbacks, cancel, resume);
}

}  // namespace

TEST(Trainer, ResumesBitForBitWhereverItWasCut) {
  const fs::path whole = fresh_folder("whole"), parts = fresh_folder("parts");
  const TrainState end = train(tiny_setup(whole));
  EXPECT_EQ(end.step, 12);
  EXPECT_EQ(end.images, 72);
  for (const int64_t cut : {1, 4, 9, 11}) {
    fs::remove_all(parts);
    const CancelToken cancel;
    TrainCallbacks callbacks;
    int64_t steps = 0;
    callbacks.progress = [&](const Progress& p) {
      if (++steps == cut) cancel.cancel();
      EXPECT_EQ(p.total, 12);
    };
    const std::string message = message_of(
        [&] { train(tiny_setup(parts), false, callbacks, cancel); }, Error::Kind::kInterrupted);
    EXPECT_NE(message.find(formatted("after step {}", cut)), std::string::npos);
    train(tiny_setup(parts), /*resume=*/true);
    EXPECT_TRUE(same_bytes(whole, parts, 12));
    EXPECT_EQ(log_of(whole), log_of(parts)) << "cut at " << cut;
  }
}

// The losses that t is drawn by are part of the state: without them the resumed run draws others.
TEST(Trainer, ResumesAnImportanceSampledBoundBitForBit) {
  UNetOptions model = tiny_model();
  model.out_channels = 2;
  const auto setup_in = [&](const fs::path& folder) {
    TrainSetup setup = tiny_setup(folder, model);
    ProcessOptions process;
    process.num_train_timesteps = 4, process.beta_end = 0.5;
    process.variance_type = "learned_range";
    setup.process = Process(process);
    setup.objective.loss = "vlb";
    setup.objective.t_sampler = "loss_second_moment";
    setup.train.steps = 24;  // 144 examples: each of 4 t has had its ten by step 12
    setup.train.learning_rate = 1e-4;
    return setup;
  };
  const fs::path whole = fresh_folder("vlb"), parts = fresh_folder("vlb_parts");
  train(setup_in(whole));
  const Tensor counts =
      read_safetensors(whole / "checkpoints" / "step_24" / "loss.safetensors").at("counts");
  EXPECT_EQ(counts.min().item<int64_t>(), 10);
  const CancelToken cancel;
  TrainCallbacks callbacks;
  callbacks.progress = [&](const Progress& p) {
    if (p.done == 16) cancel.cancel();
  };
  message_of([&] { train(setup_in(parts), false, callbacks, cancel); }, Error::Kind::kInterrupted);
  train(setup_in(parts), /*resume=*/true);
  EXPECT_TRUE(same_bytes(whole, parts, 24));
  EXPECT_EQ(log_of(whole), log_of(parts));
}

// A kill leaves the newest checkpoint, a longer log with a torn line, and perhaps half a folder.
TEST(Trainer, ResumesBitForBitAfterAKill) {
  const fs::path whole = fresh_folder("unkilled"), killed = fresh_folder("killed");
  const auto two_threads = [](const fs::path& folder) {
    TrainSetup setup = tiny_setup(folder);
    at::set_num_threads(2);
    return setup;
  };
  train(two_threads(whole));
  TrainCallbacks callbacks;
  callbacks.progress = [](const Progress& p) {
    if (p.done == 8) throw std::runtime_error("killed");
  };
  EXPECT_THROW(train(two_threads(killed), false, callbacks), std::runtime_error);
  EXPECT_TRUE(fs::exists(killed / "checkpoints" / "step_6"));
  EXPECT_FALSE(fs::exists(killed / "checkpoints" / "step_8"));
  std::ofstream(killed / "log.jsonl", std::ios::app) << R"({"step": 4, "images)";
  std::vector<std::string> notices;
  callbacks = {};
  callbacks.notice = [&](const std::string& line) { notices.push_back(line); };
  train(two_threads(killed), true, callbacks);
  EXPECT_NE(notices.at(0).find("resumed at step 6"), std::string::npos);
  EXPECT_TRUE(same_bytes(whole, killed, 12));
  EXPECT_EQ(log_of(whole), log_of(killed));
}

TEST(Trainer, KeepsTheNewestCheckpointsAndPassesOverADamagedOne) {
  const fs::path folder = fresh_folder("damaged"), whole = fresh_folder("undamaged");
  train(tiny_setup(whole));
  TrainSetup setup = tiny_setup(folder);
  setup.train.keep_checkpoints = 3;
  train(setup);
  EXPECT_FALSE(fs::exists(folder / "checkpoints" / "step_3"));
  EXPECT_TRUE(fs::exists(folder / "checkpoints" / "step_6"));
  fs::resize_file(folder / "checkpoints" / "step_12" / "optimizer.safetensors", 100);
  std::vector<std::string> notices;
  TrainCallbacks callbacks;
  callbacks.notice = [&](const std::string& line) { notices.push_back(line); };
  train(tiny_setup(folder), true, callbacks);
  EXPECT_NE(notices.at(0).find("step_12 is passed over: "), std::string::npos) << notices.at(0);
  EXPECT_NE(notices.at(1).find("train.keep_checkpoints 3 -> 2"), std::string::npos)
      << notices.at(1);
  EXPECT_NE(notices.at(2).find("resumed at step 9"), std::string::npos) << notices.at(2);
  EXPECT_TRUE(same_bytes(whole, folder, 12));
}

TEST(Trainer, ABudgetIsTheNewTotalOnResume) {
  const fs::path folder = fresh_folder("budget");
  TrainSetup setup = tiny_setup(folder);
  setup.train.steps.reset();
  setup.train.images = 13;  // 6 a step: 3 steps
  EXPECT_EQ(train(setup).step, 3);
  setup.train.images = 24;
  EXPECT_EQ(train(setup, true).step, 4);
  int shown = 0;
  TrainCallbacks callbacks;
  callbacks.on_checkpoint = [&](const TrainView& view) { shown += view.last; };
  EXPECT_EQ(train(setup, true, callbacks).step, 4);  // nothing left to do
  EXPECT_EQ(shown, 1);
  setup.train.images.reset();
  setup.train.lr_schedule = "constant";
  setup.train.minutes = 0.02;
  const TrainState end = train(setup, true);
  EXPECT_GT(end.step, 4);
  EXPECT_GE(end.seconds, 1.2);
  EXPECT_LT(end.seconds, 10);
  EXPECT_EQ(train(setup, true).step, end.step);
}

TEST(Trainer, TheLossFallsAndTheMeanFollowsTheWeights) {
  TrainSetup setup = tiny_setup(fresh_folder("falls"));
  setup.train.steps = 150;
  setup.train.batch_size = 16;
  setup.train.accumulate = 1;
  setup.train.lr_schedule = "constant";
  setup.train.log_every = setup.train.eval_every = 30;
  setup.train.checkpoint_every = 1000;
  setup.train.eval_images = 64;
  setup.heldout = std::make_shared<Halves>(64);
  train(setup);
  std::ifstream in(setup.folder / "log.jsonl");
  std::vector<double> losses, heldout;
  for (std::string line; std::getline(in, line);) {
    const Json json = Json::parse(line);
    losses.push_back(json["loss"]);
    heldout.push_back(json["heldout"]["all"]);
    EXPECT_GT(json["heldout"]["q1"].get<double>(), json["heldout"]["q4"].get<double>());
  }
  ASSERT_EQ(losses.size(), 5u);
  EXPECT_LT(losses.back(), 0.6 * losses.front());
  EXPECT_LT(heldout.back(), 0.7 * heldout.front());
}

TEST(Trainer, AccumulatesTheGradientOfTheMean) {
  // The noise of one batch of 512 differs from that of eight of 64, so loss and gradient agree as
  // means over 512 draws do: a sum instead of a mean would be eight times as large.
  TrainSetup one = tiny_setup(fresh_folder("one")), two = tiny_setup(fresh_folder("two"));
  for (TrainSetup* setup : {&one, &two}) {
    setup->train.steps = 1;
    setup->train.log_every = 1;
  }
  one.train.batch_size = 512, one.train.accumulate = 1;
  two.train.batch_size = 64, two.train.accumulate = 8;
  train(one);
  train(two);
  const Json a = Json::parse(log_of(one.folder).at(0)), b = Json::parse(log_of(two.folder).at(0));
  EXPECT_NEAR(a["loss"].get<double>(), b["loss"].get<double>(), 0.05);
  EXPECT_NEAR(a["grad_norm"].get<double>() / b["grad_norm"].get<double>(), 1, 0.1);
}

TEST(Trainer, StopsAtANumberThatIsNotFiniteAndKeepsTheCheckpoint) {
  const fs::path folder = fresh_folder("nan");
  TrainSetup setup = tiny_setup(folder);
  TrainCallbacks callbacks;
  callbacks.progress = [&](const Progress& p) {
    if (p.done == 4) {
      at::NoGradGuard no_grad;
      setup.net->named_parameters()["conv_out.bias"].fill_(NAN);
    }
  };
  const std::string message =
      message_of([&] { train(setup, false, callbacks); }, Error::Kind::kSystem);
  EXPECT_NE(message.find("[train] loss is nan at step 5 (images 24..29, learning rate 0.00"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("the last good checkpoint is"), std::string::npos);
  EXPECT_NE(message.find("step_3"), std::string::npos);
  EXPECT_TRUE(fs::exists(folder / "checkpoints" / "step_3" / "state.json"));
  // Nothing of the bad step was applied: the other weights are finite.
  EXPECT_TRUE(setup.net->named_parameters()["conv_in.weight"].isfinite().all().item<bool>());
}

TEST(Trainer, RefusesACheckpointOfAnotherNetworkAndSaysWhatDiffers) {
  const fs::path folder = fresh_folder("other");
  TrainSetup setup = tiny_setup(folder);
  setup.train.steps = 1;
  train(setup);
  UNetOptions wider = tiny_model();
  wider.block_out_channels = {8, 16};
  const std::string message = message_of([&] { train(tiny_setup(folder, wider), true); });
  EXPECT_NE(message.find("model.block_out_channels [8,8] -> [8,16]"), std::string::npos) << message;
  EXPECT_NE(message_of([&] { train(tiny_setup(folder)); }).find("step_1"), std::string::npos);
  EXPECT_NE(message_of([&] {
              train(tiny_setup(fresh_folder("empty")), true);
            }).find("no checkpoint to resume from"),
            std::string::npos);
}

TEST(Trainer, RefusesPartsThatDoNotFit) {
  const auto message = [](const std::function<void(TrainSetup&)>& spoil) {
    TrainSetup setup = tiny_setup(fresh_folder("unfit"));
    spoil(setup);
    return message_of([&] { Trainer trainer(setup); });
  };
  EXPECT_NE(message([](TrainSetup& s) { s.loader.channels = 3; }).find("model.in_channels is 1"),
            std::string::npos);
  EXPECT_NE(message([](TrainSetup& s) {
              s.data = std::make_shared<Halves>(4, false);
            }).find("takes class labels and the dataset has none"),
            std::string::npos);
  EXPECT_NE(message([](TrainSetup& s) {
              UNetOptions model = tiny_model();
              model.num_class_embeds = 2;
              s.net = UNet(model);
            }).find("so it must be 3"),
            std::string::npos);
  EXPECT_NE(message([](TrainSetup& s) {
              UNetOptions model = tiny_model();
              model.sample_size = 16;
              s.net = UNet(model);
            }).find("model.sample_size is 16x16 and the images are 8x8"),
            std::string::npos);
  EXPECT_NE(message([](TrainSetup& s) {
              s.loader.height = 9;
            }).find("images of 9x8: the network needs sides that are multiples of 2"),
            std::string::npos);
  EXPECT_NE(message([](TrainSetup& s) { s.train.minutes = 3; }).find("more than one budget"),
            std::string::npos);
}

TEST(Trainer, ShowsTheMeanWeightsAndKeepsTheRawOnes) {
  TrainSetup setup = tiny_setup(fresh_folder("shows"));
  setup.train.steps = 6;
  setup.train.preview_every = 2;
  std::vector<int64_t> previews, written;
  TrainCallbacks callbacks;
  const fs::path picture = setup.folder / "grid.png";
  callbacks.on_preview = [&](const TrainView& view) {
    previews.push_back(view.state.step);
    write_image(picture, {3, 2, 1, {0, 1, 2, 3, 4, 5}});
    view.show("samples", picture);
  };
  callbacks.on_checkpoint = [&](const TrainView& view) {
    written.push_back(view.state.step);
    const fs::path folder = setup.folder / "checkpoints" / formatted("step_{}", view.state.step);
    const TensorMap ema = read_safetensors(folder / "ema.safetensors");
    const TensorMap raw = read_safetensors(folder / "weights.safetensors");
    for (const auto& [name, tensor] : state_of(*view.net)) {
      EXPECT_TRUE(at::equal(tensor, ema.at(name))) << name;
      EXPECT_TRUE(at::equal(tensor, view.ema.at(name))) << name;
    }
    EXPECT_FALSE(at::equal(ema.at("conv_in.weight"), raw.at("conv_in.weight")));
    EXPECT_FALSE(view.net->is_training());
    EXPECT_EQ(view.last, view.state.step == 6);
  };
  train(setup, false, callbacks);
  EXPECT_EQ(previews, (std::vector<int64_t>{2, 4, 6}));
  EXPECT_EQ(written, (std::vector<int64_t>{3, 6}));
  const auto events = fs::directory_iterator(setup.folder / "tensorboard")->path();
  EXPECT_NE(read_file(events).find(read_file(picture)), std::string::npos);
  EXPECT_TRUE(setup.net->is_training());
  const TensorMap raw =
      read_safetensors(setup.folder / "checkpoints" / "step_6" / "weights.safetensors");
  for (const auto& [name, tensor] : state_of(*setup.net))
    EXPECT_TRUE(at::equal(tensor, raw.at(name))) << name;
}

TEST(Trainer, Bfloat16KeepsTheWeightsInFloat32) {
  TrainSetup setup = tiny_setup(fresh_folder("bf16"));
  setup.train.precision = "bf16";
  setup.train.steps = 2;
  const TrainState end = train(setup);
  EXPECT_EQ(end.precision, "bf16");
  for (const auto& [name, tensor] : state_of(*setup.net))
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
  TrainSetup fp32 = tiny_setup(fresh_folder("fp32"));
  fp32.train.steps = 2;
  train(fp32);
  const Json a = Json::parse(log_of(setup.folder).at(0)),
             b = Json::parse(log_of(fp32.folder).at(0));
  EXPECT_NE(a["loss"], b["loss"]);
  EXPECT_NEAR(a["loss"].get<double>(), b["loss"].get<double>(), 0.02);
}

// DDPM Alg. 1 and CFG Alg. 1
TEST(Draws, AreUniformNormalAndDropTheShareOfLabelsThatIsAskedFor) {
  const int64_t n = 20000;
  const Batch batch{at::zeros({n, 1, 2, 2}), at::arange(n) % 10};
  const TimestepSampler uniform({}, Schedule(make_betas({})));
  const Draws draws = draw(batch, uniform, 0.1, 10, Rng(1, 2));
  const double dropped = draws.labels.eq(10).sum().item<int64_t>() / double(n);
  EXPECT_NEAR(dropped, 0.1, 4 * std::sqrt(0.09 / n));
  EXPECT_TRUE(at::where(draws.labels.eq(10), batch.labels, draws.labels).equal(batch.labels));
  EXPECT_EQ(draws.t.min().item<int64_t>(), 0);
  EXPECT_EQ(draws.t.max().item<int64_t>(), 999);
  EXPECT_NEAR(draws.t.to(at::kDouble).mean().item<double>(), 499.5, 4 * 288.7 / std::sqrt(n));
  EXPECT_NEAR(draws.eps.mean().item<float>(), 0, 4 / std::sqrt(4.0 * n));
  EXPECT_NEAR(draws.eps.std().item<float>(), 1, 0.02);
  EXPECT_TRUE(draw(batch, uniform, 0, 10, Rng(1, 2)).labels.equal(batch.labels));
  EXPECT_FALSE(draw(batch, uniform, 0, 10, Rng(1, 3)).t.equal(draws.t));
  EXPECT_FALSE(draw({batch.images, at::full({n}, -1, at::kLong)}, uniform, 0.5, 10, Rng(1, 2))
                   .labels.defined());
}

TEST(Trainer, ABudgetInImagesCountsImagesWhenTheBatchChanges) {
  const fs::path folder = fresh_folder("other_batch");
  TrainSetup first = tiny_setup(folder);
  first.train.steps.reset();
  first.train.images = 24;  // 4 steps of 6
  EXPECT_EQ(train(first).step, 4);
  TrainSetup then = tiny_setup(folder);
  then.train.steps.reset();
  then.train.images = 48;
  then.train.batch_size = 6;  // 2 steps of 12
  const TrainState end = train(then, /*resume=*/true);
  EXPECT_EQ(end.images, 48);
  EXPECT_EQ(end.step, 6);
}

TEST(Trainer, ResumingOnOtherImagesIsSaid) {
  const fs::path folder = fresh_folder("other_images");
  TrainSetup first = tiny_setup(folder);
  first.train.steps = 2;
  train(first);
  TrainSetup then = tiny_setup(folder);
  then.data = std::make_shared<Halves>(11);
  then.loader.flip = false;
  std::string notices;
  TrainCallbacks callbacks;
  callbacks.notice = [&](const std::string& line) { notices += line + "\n"; };
  train(then, /*resume=*/true, callbacks);
  EXPECT_TRUE(contains(notices, "data.images 10 -> 11")) << notices;
  EXPECT_TRUE(contains(notices, "data.flip true -> false")) << notices;
}

TEST(Trainer, ADamagedLaterCheckpointGoesAndTheNewOneStays) {
  const fs::path folder = fresh_folder("damaged_later");
  TrainSetup setup = tiny_setup(folder);
  setup.train.steps = 6;
  setup.train.keep_checkpoints = 2;
  train(setup);
  write_file(folder / "checkpoints/step_6/weights.safetensors", "cut");
  setup = tiny_setup(folder);
  setup.train.keep_checkpoints = 1;
  const CancelToken cancel;
  TrainCallbacks callbacks;
  callbacks.progress = [&](const Progress& p) {
    EXPECT_EQ(p.done, 4);
    cancel.cancel();
  };
  message_of([&] { train(setup, /*resume=*/true, callbacks, cancel); }, Error::Kind::kInterrupted);
  EXPECT_EQ(newest_checkpoint(folder).filename(), "step_4");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "checkpoints"), {}), 1);
}

TEST(Trainer, AHeldOutImageThatCannotBeReadLosesNoSteps) {
  struct Broken : Halves {
    using Halves::Halves;
    Example get(int64_t) const override { fail("[data] broken.png: cannot be read"); }
  };
  const fs::path folder = fresh_folder("broken_heldout");
  TrainSetup setup = tiny_setup(folder);
  setup.heldout = std::make_shared<Broken>(16);
  setup.train.checkpoint_every = 100;
  setup.train.eval_every = 5;
  EXPECT_TRUE(contains(message_of([&] { train(setup); }), "broken.png"));
  EXPECT_EQ(newest_checkpoint(folder).filename(), "step_5");
}

}  // namespace tweedie

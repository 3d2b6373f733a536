#include "tweedie/pipeline/generate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::make_model;
using testing::message_of;
using testing::Scratch;

// All raw samples of a request, [n,C,H,W].
Tensor draw(Model& model, GenerateRequest request) {
  std::vector<Tensor> parts;
  const auto keep = [&](int64_t, const Tensor& raw) { parts.push_back(raw.clone()); };
  generate(model, request, plan(model, request), {.images = keep, .way = {}, .progress = {}});
  return at::cat(parts);
}

class Generate : public ::testing::Test {
 protected:
  void SetUp() override {
    make_model(scratch / "plain");
    make_model(scratch / "classes", 3);
  }
  Scratch scratch;
};

}  // namespace

TEST_F(Generate, FewerImagesAreTheFirstOfMoreBitForBitAtOneBatchSize) {
  Model model = load_model(scratch / "plain");
  at::set_num_threads(1);
  const Tensor four = draw(model, {.n = 4, .seed = 7, .batch = 4, .steps = 10});
  const Tensor nine = draw(model, {.n = 9, .seed = 7, .batch = 4, .steps = 10});
  EXPECT_TRUE(at::equal(four, nine.narrow(0, 0, 4)));
}

TEST_F(Generate, BatchSizeAndThreadsChangePixelsByRoundingAlone) {
  Model model = load_model(scratch / "plain");
  at::set_num_threads(1);
  const Tensor four = draw(model, {.n = 4, .seed = 7, .batch = 4, .steps = 10});
  const Tensor one = draw(model, {.n = 4, .seed = 7, .batch = 1, .steps = 10});
  at::set_num_threads(2);
  const Tensor threads = draw(model, {.n = 4, .seed = 7, .batch = 4, .steps = 10});
  EXPECT_LE((four - one).abs().max().item<double>(), 1e-4);
  EXPECT_LE((four - threads).abs().max().item<double>(), 1e-4);
  const Tensor other = draw(model, {.n = 4, .seed = 8, .batch = 4, .steps = 10});
  EXPECT_GT((four - other).abs().max().item<double>(), 1e-2);
}

TEST_F(Generate, ReplayedNoiseEqualsTheSeedsOwn) {
  Model model = load_model(scratch / "plain");
  GenerateRequest request{.n = 3, .seed = 5, .batch = 2, .sampler = "ddpm", .steps = 6};
  const Tensor seeded = draw(model, request);
  SeededNoise noise(5, 0, {3, 1, 8, 8});
  request.noise_init = noise.init();
  std::vector<Tensor> steps;
  for (int i = 0; i < 5; ++i) steps.push_back(noise.draw());
  request.noise_steps = at::stack(steps);
  EXPECT_TRUE(at::equal(seeded, draw(model, request)));
  request.noise_steps = request.noise_steps.narrow(0, 0, 4);
  EXPECT_THROW(draw(model, request), Error);
}

TEST_F(Generate, ClassesGoInTurnUnlessChosen) {
  Model model = load_model(scratch / "classes");
  EXPECT_EQ(plan(model, {.n = 5}).classes, (std::vector<int64_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(class_index(model, "kind2"), 2);
  EXPECT_EQ(class_index(model, "1"), 1);
  EXPECT_EQ(class_index(model, "none"), 3);
  EXPECT_EQ(class_name(model, 3), "none");
  const Tensor zero = draw(model, {.n = 1, .steps = 5, .classes = {0}});
  const Tensor none = draw(model, {.n = 1, .steps = 5, .classes = {3}});
  EXPECT_FALSE(at::equal(zero, none));
}

TEST_F(Generate, TheRecommendationIsUsedUnlessSamplerOrStepsAreSaid) {
  Model model = load_model(scratch / "plain");
  const Plan own = plan(model, {});
  EXPECT_TRUE(own.recommended);
  EXPECT_EQ(own.sampler, "ddim");
  EXPECT_EQ(own.steps, 5);
  const Plan said = plan(model, {.sampler = "ddpm"});
  EXPECT_FALSE(said.recommended);
  EXPECT_EQ(said.steps, 1000);
  std::filesystem::remove(scratch / "plain/tweedie.json");
  const Plan foreign = plan(load_model(scratch / "plain"), {});
  EXPECT_EQ(foreign.sampler, "ddpm") << "the folder's own scheduler";
}

TEST_F(Generate, CancellingStopsBetweenStepsAndKeepsFinishedBatches) {
  Model model = load_model(scratch / "plain");
  const GenerateRequest request{.n = 4, .batch = 2, .steps = 5};
  CancelToken cancel;
  int64_t finished = 0;
  const GenerateCallbacks callbacks = {
      .images = [&](int64_t, const Tensor& raw) { finished += raw.size(0); },
      .way = {},
      .progress =
          [&](const Progress& p) {
            if (p.done == 7) cancel.cancel();
          }};
  try {
    generate(model, request, plan(model, request), callbacks, cancel);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::kInterrupted);
  }
  EXPECT_EQ(finished, 2);
}

TEST_F(Generate, ClassesByNumberAloneMustBeSaid) {
  make_model(scratch / "numbered", 0, "timestep");
  Model model = load_model(scratch / "numbered");
  EXPECT_TRUE(model.conditional());
  EXPECT_TRUE(contains(message_of([&] { plan(model, {}); }), "--class is needed"));
  EXPECT_EQ(class_index(model, "70"), 70);
  EXPECT_TRUE(contains(message_of([&] { class_index(model, "dress"); }), "a number"));
  const Tensor one = draw(model, {.n = 2, .steps = 2, .classes = {1}});
  EXPECT_FALSE(at::equal(one, draw(model, {.n = 2, .steps = 2, .classes = {70}})));
  make_model(scratch / "vectors", 0, "identity");
  EXPECT_TRUE(contains(message_of([&] { plan(load_model(scratch / "vectors"), {}); }), "identity"));
}

TEST_F(Generate, RefusesAFlagThatWouldChangeNothing) {
  const Model model = load_model(scratch / "plain");
  const auto refused = [&](const GenerateRequest& request, const char* word) {
    EXPECT_TRUE(contains(message_of([&] { plan(model, request); }), word)) << word;
  };
  refused({.sampler = "ddpm", .eta = 0.5}, "--eta: the sampler ddpm does not heed it");
  refused({.sampler = "ddpm", .rederive_eps = true}, "--clip-eps");
  refused({.sampler = "ddim", .variance_type = "fixed_large"}, "those that do: ddpm");
  refused({.spacing = "linspace", .steps_offset = 1}, "--steps-offset 1");
}

TEST_F(Generate, AFolderSavedForASolverPicksItItsGridAndItsOrder) {
  std::filesystem::remove(scratch / "plain/tweedie.json");
  const auto planned = [&](const std::string& config, const GenerateRequest& request = {}) {
    scratch.write("plain/scheduler/scheduler_config.json", config);
    return plan(load_model(scratch / "plain"), request);
  };
  const Plan unipc = planned(
      R"({"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "use_karras_sigmas": true})");
  EXPECT_EQ(unipc.sampler, "unipc");
  EXPECT_EQ(unipc.options.order, 3);
  EXPECT_EQ(unipc.grid.spacing, "karras");
  EXPECT_FALSE(unipc.process.clip_sample);
  // As Python writes it, infinity and all.
  const Plan sde = planned(R"({"_class_name": "DPMSolverMultistepScheduler", "variance_type": null,
      "algorithm_type": "sde-dpmsolver++", "lambda_min_clipped": -Infinity, "sigma_min": null})");
  EXPECT_EQ(sde.sampler, "dpmpp_2m_sde");
  EXPECT_EQ(
      planned(R"({"_class_name": "EulerDiscreteScheduler"})", {.spacing = "trailing"}).grid.spacing,
      "trailing");
  EXPECT_TRUE(
      contains(message_of([&] { planned(R"({"_class_name": "LCMScheduler"})"); }), "LCMScheduler"));
}

TEST_F(Generate, NoiseThatIsTooShortIsFoundBeforeTheWork) {
  const Model model = load_model(scratch / "plain");
  const Tensor init = at::zeros({2, 1, 8, 8});
  const auto fault = [&](const Tensor& steps) {
    return message_of([&] {
      plan(model,
           {.n = 2, .sampler = "ddpm", .steps = 4, .noise_init = init, .noise_steps = steps});
    });
  };
  EXPECT_EQ(fault(at::zeros({3, 2, 1, 8, 8})), "");
  EXPECT_TRUE(contains(fault(at::zeros({2, 2, 1, 8, 8})), "this run needs 3"));
  EXPECT_TRUE(contains(fault({}), "draws noise 3 times"));
  EXPECT_TRUE(contains(message_of([&] {
                         plan(model, {.n = 2, .noise_steps = at::zeros({2, 2, 1, 8, 8})});
                       }),
                       "without 'init'"));
}

}  // namespace tweedie

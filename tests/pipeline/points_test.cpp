#include "tweedie/pipeline/points.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/data/points.h"
#include "tweedie/io/files.h"
#include "tweedie/nn/mlp.h"
#include "tweedie/nn/state.h"
#include "tweedie/pipeline/evaluate.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/training.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

Config tiny(const std::string& spec = "points:moons") {
  at::set_num_threads(1);
  Config config = preset_for(*open_dataset({.spec = spec}), spec, 1);
  from_json(Json::parse(R"({"width": 16, "depth": 1})"), config.model);
  config.train.minutes.reset();
  config.train.steps = 4;
  config.train.batch_size = 8;
  config.train.checkpoint_every = config.train.preview_every = config.train.eval_every = 4;
  config.train.eval_images = 8;
  return config;
}

void train(const Config& config, const fs::path& folder, bool resume = false) {
  Training(config, folder).run({}, {}, {}, resume, false);
}

// A model of points, untrained, that lives in `space`.
Model model_in(const fs::path& folder, const PointSpace& space) {
  MlpOptions options;
  options.width = 16, options.depth = 1;
  options.sample_size = Json::array({1, 1});
  Mlp net(options, 3);
  ModelCard card;
  card.data["points"] = to_json(space);
  ProcessOptions process;
  process.clip_sample = false;
  save_model(folder, options, state_of(*net), process, card);
  return load_model(folder);
}

}  // namespace

TEST(PointTraining, LeavesAModelFolderLikeAnyOther) {
  const Scratch scratch;
  const fs::path folder = scratch / "run";
  train(tiny(), folder);
  EXPECT_TRUE(fs::exists(folder / "denoiser/config.json"));
  EXPECT_FALSE(fs::exists(folder / "unet"));
  EXPECT_EQ(read_json(folder / "model_index.json")["denoiser"][1], "TweedieMLP");
  EXPECT_EQ(read_json(folder / "denoiser/config.json")["_class_name"], "TweedieMLP");
  EXPECT_EQ(read_image(folder / "previews/step_0000004.png").channels, 3);
  Model model = load_model(folder);
  ASSERT_TRUE(model.points());
  EXPECT_EQ(to_json(*model.points()),
            to_json(*open_dataset({.spec = "points:moons"})->point_space()));
  EXPECT_EQ(to_json(read_config(folder / "config.json").model)["width"], 16);
  EXPECT_EQ(model.height, 1);
}

TEST(PointTraining, ResumesBitForBit) {
  const Scratch scratch;
  Config config = tiny();
  config.train.steps = 8;
  train(config, scratch / "whole");
  config.train.steps = 4;
  train(config, scratch / "parts");
  config.train.steps = 8;
  train(config, scratch / "parts", /*resume=*/true);
  const auto weights = [&](const char* run) {
    return read_file(fs::path(scratch / run) / "denoiser/diffusion_pytorch_model.safetensors");
  };
  EXPECT_EQ(weights("whole"), weights("parts"));
}

TEST(PointTraining, RefusesWhatPointsCannotHave) {
  const Scratch scratch;
  const auto fault = [&](const std::function<void(Config&)>& change) {
    Config config = tiny();
    change(config);
    return message_of([&] { Training(config, scratch / "run"); });
  };
  EXPECT_EQ(fault([](Config&) {}), "");
  EXPECT_TRUE(contains(fault([](Config& c) { c.model = UNetOptions(); }), "needs mlp"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.data.source = "shapes:8"; }), "needs unet"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.process.clip_sample = true; }), "clip_sample"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.data.flip = true; }), "data.flip"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.data.size = {2, 1}; }), "[1, 1]"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.model->in_channels = 3; }), "2 columns"));
  EXPECT_TRUE(contains(fault([](Config& c) { c.model->num_class_embeds = 5; }), "2 classes"));
}

TEST(PointTraining, LearnsAVarianceAndClasses) {
  const Scratch scratch;
  Config config = tiny();
  config.model->num_class_embeds = 3;
  config.model->out_channels = 4;
  config.process.variance_type = "learned_range";
  config.objective.loss = "hybrid";
  config.objective.label_dropout = 0.1;
  train(config, scratch / "run");
  Model model = load_model(scratch / "run");
  EXPECT_EQ(model.class_count(), 2);
  const EvaluateResult found =
      evaluate_bpd(model, {.data = "points:moons", .bpd = {.images = 64, .t_per_image = 4}});
  EXPECT_TRUE(std::isfinite(found.bpd.total));
  EXPECT_TRUE(contains(found.method, "continuous Gaussian decoder"));
}

// The same points in other units cost as many bits more as the units are finer.
TEST(PointEvaluation, IsInTheDataOwnUnits) {
  const Scratch scratch;
  std::string near = "x,y\n", far = "x,y\n";
  Rng rng(5);
  for (int i = 0; i < 400; ++i) {
    const double x = rng.normal(), y = rng.normal();
    near += formatted("{:.17g},{:.17g}\n", x, y);
    far += formatted("{:.17g},{:.17g}\n", 1000 + 8 * x, 2 * y);
  }
  write_file(scratch / "near.csv", near);
  write_file(scratch / "far.csv", far);
  Model one = model_in(scratch / "one", {{"x", "y"}, {0, 0}, {1, 1}});
  Model other = model_in(scratch / "other", {{"x", "y"}, {1000, 0}, {8, 2}});
  const auto bits = [&](Model& model, const char* file) {
    EvaluateRequest request{.data = "points:" + (scratch / file) + "@all"};
    request.bpd.t_per_image = 4;
    return evaluate_bpd(model, request).bpd;
  };
  const Bpd a = bits(one, "near.csv"), b = bits(other, "far.csv");
  EXPECT_NEAR(b.total - a.total, 2, 1e-4);  // (log2 8 + log2 2) / 2
  EXPECT_NEAR(b.decoder - a.decoder, 2, 1e-4);
  EXPECT_EQ(b.vlb[0], b.decoder);
  EXPECT_NEAR(b.prior, a.prior, 1e-6);
}

TEST(PointEvaluation, RefusesImagesForPointsAndPixelsDecoder) {
  const Scratch scratch;
  Model model = model_in(scratch / "m", {{"x", "y"}, {0, 0}, {1, 1}});
  EXPECT_TRUE(contains(message_of([&] { evaluate_bpd(model, {.data = "shapes:8"}); }),
                       "is a model of points"));
  EXPECT_TRUE(contains(
      message_of([&] { evaluate_bpd(model, {.data = "points:moons", .tanh_decoder = true}); }),
      "--tanh-decoder"));
  fs::copy(scratch / "m", scratch / "broken", fs::copy_options::recursive);
  Json card = read_json(fs::path(scratch / "broken") / "tweedie.json");
  card["data"]["points"]["scale"] = {1, 0};
  write_json(fs::path(scratch / "broken") / "tweedie.json", card);
  EXPECT_TRUE(contains(message_of([&] { load_model(scratch / "broken"); }), "expected above 0"));
}

TEST(PointPictures, NumbersGoToAFileAndBack) {
  const Scratch scratch;
  const PointSpace space{{"x", "y"}, {10, -1}, {2, 0.5}};
  const Tensor x = at::tensor({0.f, 1.f, -1.f, 2.f}).view({2, 2, 1, 1});
  const Tensor points = to_points(x, space);
  EXPECT_TRUE(at::equal(points, at::tensor({10., -0.5, 8., 0.}).view({2, 2})));
  write_csv(scratch / "p.csv", points, space, {"a", "b"});
  EXPECT_EQ(read_file(scratch / "p.csv"), "x,y,label\n10,-0.5,a\n8,0,b\n");
  const DatasetPtr data = open_dataset({.spec = "points:" + (scratch / "p.csv") + "@all"});
  EXPECT_TRUE(at::equal(points_of(*data, 2), points));
}

// Dots lie where the axes say: the middle of the box is the middle of the axes.
TEST(PointPictures, ADotIsWhereItsNumbersAre) {
  const PointSpace space{{"x", "y"}, {5, 0}, {1, 1}};
  const auto dark = [&](double x, double y) {
    const Image image = draw_chart(scatter(at::tensor({x, y}, at::kDouble).view({1, 2}), space));
    double sum = 0, row = 0, column = 0;
    for (int i = 60; i < image.height - 60; ++i)
      for (int j = 80; j < image.width - 30; ++j) {
        const uint8_t* p = &image.pixels[3 * (size_t{1} * i * image.width + j)];
        if (p[2] < p[0] + 40) continue;  // blue ink
        sum += 1, row += i, column += j;
      }
    return std::pair(column / sum, row / sum);
  };
  const auto [x0, y0] = dark(5, 0);
  const auto [x1, y1] = dark(6, 0);
  const auto [x2, y2] = dark(5, 2);
  EXPECT_NEAR(y1, y0, 0.6);
  EXPECT_NEAR(x2, x0, 0.6);
  EXPECT_NEAR(y0 - y2, 2 * (x1 - x0), 1.2);  // as long upwards as to the right
  EXPECT_GT(x1, x0 + 40);
}

// By eps = x_t - b the ODE, dx/dr = x / sqrt(1 + r^2) - b in x = x_t / alpha and r = sigma / alpha,
// leads N(0, 1 + R^2) at r = R to N(b (asinh(R) / 2 + 1/4), 1/4) at r = 0, up to 1/R^2.
TEST(PointPictures, TheDensityIsDarkWhereTheFlowLeads) {
  const Scratch scratch;
  at::set_num_threads(1);
  Model model = model_in(scratch / "m", {{"x", "y"}, {0, 0}, {1, 1}});
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, weight] : state_of(*model.net)) {
      weight.zero_();
      if (name == "linear_in.weight") weight.narrow(0, 0, 2).narrow(1, 0, 2).copy_(at::eye(2));
      if (name == "linear_out.weight") weight.narrow(1, 0, 2).copy_(at::eye(2));
      if (name == "linear_out.bias") weight.copy_(-at::tensor({0.4f, 0.2f}));
    }
  }
  const Image picture = density(model, {}, 32, 30).backdrop;
  ASSERT_EQ(picture.width, 32);
  size_t darkest = 0;
  for (size_t i = 0; i < 32 * 32; ++i)
    if (picture.pixels[3 * i] < picture.pixels[3 * darkest]) darkest = i;
  const double pixel = 6.4 / 32, R = 157.35;  // of the linear schedule at T
  const double far = std::asinh(R) / 2 + 0.25;
  EXPECT_NEAR((double(darkest % 32) - 15.5) * pixel, 0.4 * far, pixel);
  EXPECT_NEAR((15.5 - double(darkest / 32)) * pixel, 0.2 * far, pixel);  // y goes upwards
  // Two standard deviations aside the density is exp(-2) of the highest, of which the root is
  // shown.
  const double beside = 255 - picture.pixels[3 * (darkest + 5)];
  EXPECT_NEAR(beside / (255 - picture.pixels[3 * darkest]), std::exp(-1), 0.12);
  EXPECT_LT(picture.pixels[3 * darkest], 40);
  EXPECT_GT(picture.pixels[0], 200);
}

TEST(PointPictures, TheFlowHasAFrameAStep) {
  const Scratch scratch;
  at::set_num_threads(1);
  Model model = model_in(scratch / "m", {{"x", "y"}, {0, 0}, {1, 1}});
  PointFlow flow(10, *model.points());
  const GenerateRequest request{.n = 30, .batch = 20, .steps = 10};
  Tensor last;
  GenerateCallbacks callbacks{.images = [&](int64_t, const Tensor& x) { last = x; },
                              .way = std::ref(flow)};
  generate(model, request, plan(model, request), callbacks);
  const std::vector<Image> frames = flow.frames();
  EXPECT_EQ(frames.size(), 11u + 33u);
  EXPECT_NE(frames.front().pixels, frames[10].pixels);
  EXPECT_EQ(last.sizes(), (std::vector<int64_t>{10, 2, 1, 1}));
  EXPECT_TRUE(contains(message_of([&] {
                         scatter(at::zeros({2, 1}, at::kDouble), {{"x"}, {0}, {1}});
                       }),
                       "one column"));
}

}  // namespace tweedie

// tweedie invert: the noise that draws an image; tweedie interpolate: the way from one to another.
#include <filesystem>

#include "cli.h"
#include "tweedie/core/noise.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/files.h"
#include "tweedie/io/grid.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/invert.h"
#include "tweedie/pipeline/way.h"
#include "tweedie/samplers/invert.h"

namespace tweedie::cli {
namespace {

struct InvertFlags {
  std::string model, out, back, classes, animate;
  std::vector<std::string> images;
  std::vector<uint64_t> seeds;
  std::optional<std::string> spacing;
  std::optional<int64_t> steps;
  int64_t iterations = 0, n = 9;
  bool force = false;
};

Model model_of_images(const char* verb, const InvertFlags& flags) {
  Model model = load_model(find_model(flags.model), common.device);
  if (model.points()) fail("{}: is about images, and {} is a model of points", verb, model.name);
  return model;
}

// As told; the null class of a model with classes unless told.
std::vector<int64_t> classes_of(const Model& model, const std::string& list) {
  std::vector<int64_t> classes;
  for (const std::string& name : CLI::detail::split(list, ','))
    if (!name.empty()) classes.push_back(class_index(model, name));
  if (!classes.empty() || !model.conditional()) return classes;
  if (!model.card || !model.card->null_class)
    fail("--class is needed: {} has classes and no null class", model.name);
  return {*model.card->null_class};
}

// ddim from noise, unclipped, as an inversion goes.
GenerateRequest request_of(const InvertFlags& flags, int64_t n,
                           const std::vector<int64_t>& classes) {
  GenerateRequest request;
  request.n = n;
  request.sampler = "ddim";
  request.steps = flags.steps;
  request.spacing = flags.spacing;
  request.clip_sample = false;
  request.classes = classes;
  return request;
}

// What decides the pictures beside their noise.
Json facts_of(const Model& model, const GenerateRequest& request, const Plan& plan) {
  Json json = {{"model", model.name},
               {"n", request.n},
               {"sampler", plan.sampler},
               {"steps", plan.steps},
               {"spacing", plan.grid.spacing}};
  if (!request.classes.empty()) json["class"] = class_names(model, request.classes);
  return json;
}

// The command that draws the images again.
std::string drawn_by(const InvertFlags& flags, const Json& facts) {
  std::string line = formatted(
      "tweedie sample {} --noise {} --sampler ddim --steps {} --spacing {} --no-clip", flags.model,
      flags.out, facts["steps"].get<int64_t>(), facts["spacing"].get<std::string>());
  if (facts.contains("class"))
    line += formatted(" --class '{}'", facts["class"].get<std::string>());
  return line;
}

Tensor draw(Model& model, GenerateRequest request, const Tensor& noise) {
  request.noise_init = noise;
  std::vector<Tensor> raw;
  ProgressBar bar("sampling");
  generate(model, request, plan(model, request),
           {.images = [&](int64_t, const Tensor& x) { raw.push_back(x.clone()); },
            .way = {},
            .progress = std::ref(bar)},
           interrupts());
  return at::cat(raw);
}

Tensor inverted(Model& model, const InvertFlags& flags, const Tensor& images,
                const std::vector<int64_t>& classes) {
  ProgressBar bar("inverting");
  return invert(model,
                {.images = images,
                 .steps = flags.steps,
                 .spacing = flags.spacing,
                 .classes = classes,
                 .iterations = flags.iterations},
                std::ref(bar), interrupts());
}

void invert_images(const InvertFlags& flags) {
  apply_common();
  require_tensor_file("--out", flags.out);
  if (!flags.back.empty() && !is_image_file(flags.back))
    fail("--back {}: not a name of a picture", flags.back);
  require_free({{"--out", flags.out}, {"--back", flags.back}}, flags.force);
  Model model = model_of_images("invert", flags);
  const std::vector<int64_t> classes = classes_of(model, flags.classes);
  const GenerateRequest request =
      request_of(flags, static_cast<int64_t>(flags.images.size()), classes);
  Json json = facts_of(model, request, plan(model, request));
  const Tensor images = read_pictures(flags.images, model);
  const Tensor noise = inverted(model, flags, images, classes);
  write_safetensors(flags.out, {{"init", noise}});
  print("wrote " + flags.out);
  json.update({{"iterations", flags.iterations},
               {"mean", noise.mean().item<double>()},
               {"std", noise.std().item<double>()},
               {"files", Json::array({flags.out})}});
  print(formatted("the noise has mean {:.3f} and standard deviation {:.3f}",
                  json["mean"].get<double>(), json["std"].get<double>()));
  print("drawn again by: " + drawn_by(flags, json));
  if (!flags.back.empty()) {
    const Tensor again = draw(model, request, noise);
    const double rmse = (again - images).square().mean().sqrt().item<double>();
    std::vector<Image> cells;
    for (const Tensor& row : {images, again})
      for (int64_t i = 0; i < row.size(0); ++i) cells.push_back(to_image(row[i]));
    write_image(flags.back, tile(cells, static_cast<int>(images.size(0)), 2));
    json["rmse"] = rmse;
    json["files"].push_back(flags.back);
    print(
        formatted("wrote {}: above the images, below what ddim draws from their noise, {:.4f} "
                  "away (root mean square, of 2)",
                  flags.back, rmse));
  }
  if (common.json) print_json(json);
}

// The two ends, [1,C,H,W] each.
std::pair<Tensor, Tensor> ends(Model& model, const InvertFlags& flags,
                               const std::vector<int64_t>& classes) {
  if (flags.seeds.empty() == flags.images.empty()) fail("interpolate: two images, or --seeds A,B");
  if (!flags.images.empty()) {
    if (flags.images.size() != 2) fail("interpolate: {} images: expected two", flags.images.size());
    const Tensor noise = inverted(model, flags, read_pictures(flags.images, model), classes);
    return {noise.narrow(0, 0, 1), noise.narrow(0, 1, 1)};
  }
  if (flags.seeds.size() != 2) fail("--seeds: {} numbers: expected two", flags.seeds.size());
  const auto noise = [&](uint64_t seed) {
    return SeededNoise(seed, 0, {1, model.options().in_channels, model.height, model.width}).init();
  };
  return {noise(flags.seeds[0]), noise(flags.seeds[1])};
}

void interpolate(const InvertFlags& flags) {
  apply_common();
  if (!is_image_file(flags.out)) fail("--out {}: not a name of a picture", flags.out);
  if (!flags.animate.empty()) require_animation(flags.animate);
  require_free({{"--out", flags.out}, {"--animate", flags.animate}}, flags.force);
  if (!flags.seeds.empty() && flags.iterations > 0)
    fail("--iterations {}: of pictures that are inverted, and --seeds are noise already",
         flags.iterations);
  Model model = model_of_images("interpolate", flags);
  const std::vector<int64_t> classes = classes_of(model, flags.classes);
  if (classes.size() > 1) fail("--class: {} entries: expected one for all", classes.size());
  const GenerateRequest request = request_of(flags, flags.n, classes);
  Json json = facts_of(model, request, plan(model, request));
  const auto [from, to] = ends(model, flags, classes);
  std::vector<Tensor> noises;
  for (int64_t i = 0; i < flags.n; ++i)
    noises.push_back(slerp(from, to, static_cast<double>(i) / static_cast<double>(flags.n - 1)));
  const Tensor drawn = draw(model, request, at::cat(noises));
  std::vector<Image> cells;
  for (int64_t i = 0; i < flags.n; ++i) cells.push_back(to_image(drawn[i]));
  write_image(flags.out, tile(cells, static_cast<int>(flags.n), 2));
  print("wrote " + flags.out);
  Json files = Json::array({flags.out});
  if (!flags.animate.empty()) {
    std::vector<Image> frames = cells;  // there and back
    for (int64_t i = flags.n - 2; i > 0; --i) frames.push_back(cells[i]);
    write_animation(flags.animate, frames, 80);
    print("wrote " + flags.animate);
    files.push_back(flags.animate);
  }
  if (flags.images.empty()) json["seeds"] = flags.seeds;
  if (!flags.images.empty()) json["iterations"] = flags.iterations;
  json["files"] = files;
  if (common.json) print_json(json);
}

void add_shared(CLI::App& verb, const std::shared_ptr<InvertFlags>& flags) {
  verb.add_option("--steps", flags->steps,
                  "of ddim; default as sample --sampler ddim, or as many as a respacing has");
  verb.add_option(
      "--spacing", flags->spacing,
      formatted("{}; or a respacing: 250, 10,15,20, ddim50", fmt::join(spacing_names(), ", ")));
  verb.add_option("--iterations", flags->iterations,
                  "of each step backwards, until it is ddim's inverse; 0 is the plain form")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  verb.add_option("--class", flags->classes, "index, name or none (none)");
  verb.add_flag("--force", flags->force, "replace what exists");
  add_common(verb);
}

}  // namespace

void add_invert(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("invert", "the noise from which ddim draws an image");
  auto flags = std::make_shared<InvertFlags>();
  verb.add_option("model", flags->model, "a model folder or a known name")->required();
  verb.add_option("images", flags->images, "pictures; resized and cropped to the model's size")
      ->required();
  verb.add_option("--out", flags->out,
                  "safetensors with init [N,C,H,W]; drawn again by sample MODEL --noise FILE "
                  "--sampler ddim --no-clip, the same --steps and --spacing, and of a model with "
                  "classes the same --class (none)")
      ->required();
  verb.add_option("--back", flags->back, "also draw the images again, into this picture");
  add_shared(verb, flags);
  verb.callback([flags] { invert_images(*flags); });
}

void add_interpolate(CLI::App& app) {
  CLI::App& verb =
      *app.add_subcommand("interpolate", "the way between two images or two seeds, as a strip");
  auto flags = std::make_shared<InvertFlags>();
  verb.add_option("model", flags->model, "a model folder or a known name")->required();
  verb.add_option("images", flags->images, "two pictures, inverted first");
  verb.add_option("--seeds", flags->seeds, "two seeds A,B instead")->delimiter(',');
  verb.add_option("--n", flags->n, "pictures, the ends included")
      ->check(CLI::Range(2, 1000))
      ->capture_default_str();
  verb.add_option("--out", flags->out, "the strip, a picture")->required();
  verb.add_option("--animate", flags->animate, "also as an animated .webp or .png, there and back");
  add_shared(verb, flags);
  verb.callback([flags] { interpolate(*flags); });
}

}  // namespace tweedie::cli

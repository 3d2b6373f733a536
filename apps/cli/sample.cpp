// tweedie sample: draws images, or points, from a model.
#include <filesystem>

#include "cli.h"
#include "compare_samplers.h"
#include "profiling.h"
#include "sample_points.h"
#include "tweedie/core/heap.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/files.h"
#include "tweedie/io/grid.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/nn/network_plan.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/pipeline/way.h"

namespace fs = std::filesystem;

namespace tweedie::cli {
namespace {

constexpr int64_t kPointsAtOnce = 4096;

struct SampleFlags {
  std::string model, out, noise, save_tensor, animate, classes, compare, density;
  GenerateRequest request;
  int64_t columns = 0, every = 0;
  bool force = false, tune = false, profile = false;
  CLI::Option *n = nullptr, *batch = nullptr;
};

// As many images as the file holds, unless --n says how many there should be.
void read_noise(SampleFlags& flags) {
  const std::string& file = flags.noise;
  GenerateRequest& request = flags.request;
  const TensorMap tensors = read_safetensors(file);
  const auto init = tensors.find("init");
  if (init == tensors.end())
    fail("{}: no tensor 'init'; expected init [N,C,H,W] and perhaps steps", file);
  request.noise_init = init->second.to(at::kFloat);
  const Tensor& held = request.noise_init;
  if (flags.n->count() == 0 && held.dim() > 0 && held.size(0) > 0) request.n = held.size(0);
  if (const auto steps = tensors.find("steps"); steps != tensors.end())
    request.noise_steps = steps->second.to(at::kFloat);
}

void read_classes(const Model& model, const std::string& list, GenerateRequest& request) {
  std::vector<int64_t> classes;
  for (const std::string& name : CLI::detail::split(list, ','))
    classes.push_back(class_index(model, name));
  request.classes = std::move(classes);
}

// What decides the pictures beside the plan.
Json facts_of(const Model& model, const SampleFlags& flags) {
  const GenerateRequest& request = flags.request;
  Json json = {{"model", model.name}, {"seed", request.seed}, {"n", request.n}};
  if (model.conditional())
    json["class"] = request.classes.empty() ? "in turn" : class_names(model, request.classes);
  if (!flags.noise.empty()) json["noise"] = flags.noise;
  return json;
}

// What each picture says about itself.
ImageText description(const Model& model, const Json& facts, const Plan& plan, int64_t image = -1) {
  Json json = description_of(plan);
  json.update(facts);
  json["version"] = TWEEDIE_VERSION;
  if (image >= 0) json["image"] = image;
  if (image >= 0 && !plan.classes.empty()) json["class"] = class_name(model, plan.classes[image]);
  return {{"tweedie", text_of(json)}, {"Software", std::string("tweedie ") + TWEEDIE_VERSION}};
}

void announce(Model& model, const GenerateRequest& request, const Plan& plan) {
  for (const std::string& note : plan.notes) notice(note);
  if (common.quiet) return;
  const double call = seconds_per_call(model, std::min(request.batch, request.n));
  const double batches = std::ceil(static_cast<double>(request.n) / request.batch);
  std::string line = formatted("{}, {} steps, about {}", plan.sampler, plan.steps,
                               duration(call * batches * plan.nfe));
  const int64_t T = plan.process.num_train_timesteps;
  if (plan.recommended && !(plan.sampler == "ddpm" && plan.steps == T))
    line += formatted("; the paper's own: --sampler ddpm --steps {}, about {}", T,
                      duration(call * batches * T));
  notice(line);
}

bool way_wanted(const SampleFlags& flags) { return flags.every > 0 || !flags.animate.empty(); }

// Makes the folder, or takes the numbered pictures of an earlier run out of it.
void clear_pictures(const fs::path& folder) {
  fs::create_directories(folder);
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.size() >= 10 && entry.path().extension() == ".png" &&
        name.find_first_not_of("0123456789") == name.size() - 4)
      old.push_back(entry.path());
  }
  for (const fs::path& path : old) fs::remove(path);
}

// Points make other pictures, from the same request.
void sample_of_points(Model& model, SampleFlags& flags) {
  for (const auto& [flag, given] :
       std::vector<std::pair<std::string, bool>>{{"--every", flags.every > 0},
                                                 {"--columns", flags.columns > 0},
                                                 {"--compare", !flags.compare.empty()},
                                                 {"--tune", flags.tune},
                                                 {"--profile", flags.profile}})
    if (given) fail("{}: is about images, and {} is a model of points", flag, model.name);
  if (!flags.noise.empty()) read_noise(flags);
  if (!flags.classes.empty()) read_classes(model, flags.classes, flags.request);
  if (flags.batch->count() == 0) flags.request.batch = kPointsAtOnce;
  const PointFiles files{flags.out, flags.save_tensor, flags.animate, flags.density};
  require_free({{"--out", files.out},
                {"--save-tensor", files.tensor},
                {"--animate", files.animation},
                {"--density", files.density}},
               flags.force);
  sample_points(model, flags.request, files, facts_of(model, flags));
}

void sample(SampleFlags& flags) {
  use_huge_pages();
  apply_common();
  require_tensor_file("--save-tensor", flags.save_tensor);
  if (flags.tune) require_cpu("--tune");
  if (flags.profile) require_cpu("--profile");
  GenerateRequest& request = flags.request;
  Model model = load_model(find_model(flags.model), common.device);
  if (model.points()) return sample_of_points(model, flags);
  if (!flags.density.empty())
    fail("--density {}: of a model of points, and {} is of images", flags.density, model.name);
  const bool to_folder = !flags.out.empty() && !is_image_file(flags.out);
  if (const fs::path extension = fs::path(flags.out).extension();
      to_folder && !extension.empty() && !fs::is_directory(flags.out))
    fail("--out {}: unknown extension {}; known: .png, .jpg, .jpeg, .webp, or a folder without one",
         flags.out, extension.string());
  if (flags.out.empty() && flags.save_tensor.empty()) flags.out = "samples.png";
  if (!flags.compare.empty() &&
      (to_folder || !flags.save_tensor.empty() || way_wanted(flags) || flags.profile || flags.tune))
    fail(
        "--compare {}: makes one picture; without a folder for --out, --save-tensor, --every, "
        "--animate, --profile and --tune",
        flags.compare);
  std::string way_file;
  if (flags.every > 0) {
    const fs::path base = flags.out.empty() ? "samples.png" : flags.out;
    way_file = to_folder ? (base / "way.png").string()
                         : (base.parent_path() / (base.stem().string() + "-way.png")).string();
  }
  if (!flags.animate.empty()) require_animation(flags.animate);
  if (!flags.noise.empty()) read_noise(flags);

  if (!flags.classes.empty()) read_classes(model, flags.classes, request);
  const bool pictures = !flags.out.empty() || way_wanted(flags);
  if (const int64_t channels = model.options().in_channels;
      pictures && channels != 1 && channels != 3)
    fail("{} has {} channels, which is no picture: --save-tensor without --out saves the numbers",
         model.name, channels);
  const Json facts = facts_of(model, flags);
  if (!flags.compare.empty()) {
    require_free(flags.out, flags.force);
    return compare_samplers(model, request, flags.compare, flags.out, flags.columns, facts);
  }
  const Plan planned = plan(model, request);
  require_free({{"--out", flags.out},
                {"--save-tensor", flags.save_tensor},
                {"--animate", flags.animate},
                {"--every", way_file}},
               flags.force);
  std::optional<NetworkPlan> tuned;
  if (flags.tune) {
    tuned = plan_by_measurement(model.net, model.height, model.width,
                                std::min(request.batch, request.n), /*gradients=*/false, notice);
    use_plan(model.net, *tuned);
  }
  announce(model, request, planned);

  const int64_t columns = flags.columns > 0 ? flags.columns
                          : request.classes.empty() && model.conditional()
                              ? model.class_count()
                              : static_cast<int64_t>(std::ceil(std::sqrt(request.n)));
  std::vector<Image> images;
  std::vector<std::string> files;
  std::vector<Tensor> raw;
  Way way(request.n, planned.steps, flags.every, !flags.animate.empty());
  if (to_folder) clear_pictures(flags.out);
  int64_t finished = 0;

  const auto keep = [&](int64_t first, const Tensor& x) {
    finished += x.size(0);
    if (!flags.save_tensor.empty()) raw.push_back(x.clone());
    if (flags.out.empty()) return;
    for (int64_t i = 0; i < x.size(0); ++i) {
      const Image image = to_image(x[i]);
      if (to_folder) {
        files.push_back((fs::path(flags.out) / formatted("{:06}.png", first + i)).string());
        write_image(files.back(), image, description(model, facts, planned, first + i));
      } else {
        images.push_back(image);
      }
    }
  };
  ProgressBar bar("sampling");
  Profiling profiling(flags.profile, bar);
  GenerateCallbacks callbacks = {.images = keep, .way = {}, .progress = std::ref(profiling)};
  if (way.wanted()) callbacks.way = std::ref(way);
  const auto start = std::chrono::steady_clock::now();
  bool interrupted = false;
  try {
    generate(model, request, planned, callbacks, interrupts());
  } catch (const Error& e) {
    if (e.kind() != Error::Kind::kInterrupted) throw;
    interrupted = true;
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  profiling.end();

  if (!images.empty() && !flags.out.empty()) {
    write_image(flags.out, tile(images, static_cast<int>(columns), 2),
                description(model, facts, planned));
    files.push_back(flags.out);
  }
  if (!way_file.empty() && !interrupted) {
    write_image(way_file, way.strip(), description(model, facts, planned));
    files.push_back(way_file);
  }
  if (!flags.animate.empty() && !interrupted) {
    write_animation(flags.animate, way.frames(static_cast<int>(columns)), 60);
    files.push_back(flags.animate);
  }
  if (!raw.empty()) {
    const Tensor all = at::cat(raw).to(at::kFloat);
    write_safetensors(flags.save_tensor, {{"samples", all.clamp(-1, 1)}, {"raw", all}});
    files.push_back(flags.save_tensor);
  }
  for (const std::string& file : to_folder ? std::vector<std::string>{flags.out} : files)
    print("wrote " + file);
  if (common.json) {
    Json json = description_of(planned);
    json.update(facts);
    json.update({{"n", finished}, {"seconds", seconds}, {"files", files}});
    if (tuned) json["plan"] = to_json(*tuned);
    profiling.add_to(json);
    print_json(json);
  }
  if (interrupted)
    throw Error(Error::Kind::kInterrupted, files.empty()
                                               ? "interrupted; no image was finished"
                                               : "interrupted; the finished images are kept");
}

}  // namespace

namespace {

void add_clipping_flags(CLI::App& verb, const std::shared_ptr<SampleFlags>& flags) {
  CLI::Option* clip = verb.add_flag_callback(
      "--clip", [flags] { flags->request.clip_sample = true; },
      "clip the estimate of x_0 to the data range, whatever the folder says");
  verb.add_flag_callback(
          "--no-clip", [flags] { flags->request.clip_sample = false; },
          "neither clip nor threshold it")
      ->excludes(clip);
  verb.add_option("--dynamic-threshold", flags->request.dynamic_threshold,
                  "scale it until this share of |x_0|, 0 < p <= 1, such as 0.995, lies within 1 "
                  "(Imagen)");
  verb.add_option("--clip-eps",
                  "rederive: eps again from the clipped x_0; keep: as the network said")
      ->check(CLI::IsMember({"keep", "rederive"}))
      ->each([flags](const std::string& way) { flags->request.rederive_eps = way == "rederive"; });
}

void add_sampler_flags(CLI::App& verb, const std::shared_ptr<SampleFlags>& flags) {
  GenerateRequest& request = flags->request;
  CLI::Option* sampler = verb.add_option("--sampler", request.sampler,
                                         "see tweedie list samplers; default: the model's own");
  CLI::Option* steps = verb.add_option("--steps", request.steps, "steps along the way");
  verb.add_option(
      "--spacing", request.spacing,
      formatted("{}; or a respacing: 250, 10,15,20, ddim50", fmt::join(spacing_names(), ", ")));
  verb.add_option("--timesteps", request.timesteps, "a list of one's own, falling: 999,500,0")
      ->delimiter(',');
  verb.add_option("--steps-offset", request.steps_offset, "added to leading timesteps");
  verb.add_option("--rho", request.rho, "how much karras crowds near the data; 7 by default");
  verb.add_option("--sigma-max", request.sigma_max,
                  "karras, exponential, log_snr: the most sigma/alpha of a level after the first");
  verb.add_option("--sigma-min", request.sigma_min,
                  "the same: the least of a level before the end");
  verb.add_option("--eta", request.eta, "ddim: 0 deterministic .. 1 ancestral");
  verb.add_option("--variance", request.variance_type,
                  "fixed_small, fixed_large, ...: ddpm's step variance");
  verb.add_option("--order", request.order, "unipc, deis: 1..3; ipndm: 1..4");
  verb.add_option("--solver-type", request.solver_type,
                  "unipc: bh1, bh2; dpmpp: midpoint, heun (the integral exact)");
  verb.add_flag_callback(
      "--no-corrector", [flags] { flags->request.corrector = false; },
      "unipc: without the correction of each step by the next");
  verb.add_option("--basis", request.basis, "deis: t, rho or log_rho");
  verb.add_option("--s-churn", request.s_churn, "edm: how much noise is renewed, over all steps");
  verb.add_option("--s-min", request.s_min, "edm: none below this sigma/alpha");
  verb.add_option("--s-max", request.s_max, "edm: none above this sigma/alpha");
  verb.add_option("--s-noise", request.s_noise, "edm: scale of the renewed noise");
  verb.add_option("--scheduler-rules", request.rules,
                  "paper; or diffusers, its contradictions included (docs/samplers.md)");
  verb.add_option("--compare", flags->compare,
                  "the same seeds by several samplers, a row each: ddim:50,unipc:10,heun:18")
      ->excludes(sampler)
      ->excludes(steps);
  add_clipping_flags(verb, flags);
}

}  // namespace

void add_sample(CLI::App& app) {
  CLI::App& verb = *app.add_subcommand("sample", "draw images, or points, from a model");
  auto flags = std::make_shared<SampleFlags>();
  GenerateRequest& request = flags->request;
  verb.add_option("model", flags->model, "a model folder (ours or diffusers'), or a known name")
      ->required();
  flags->n = verb.add_option("--n", request.n, "how many images; of --noise all that it holds")
                 ->default_val(16);
  verb.add_option("--seed", request.seed, "image i of a seed is always the same")
      ->capture_default_str();
  verb.add_option(
      "--out", flags->out,
      "a picture (grid) or a folder (a PNG each); of points a scatter plot or a .csv; default "
      "samples.png");
  verb.add_option("--class", flags->classes,
                  "index, name or none: one for all images, or a list A,B,... of n");
  add_sampler_flags(verb, flags);
  verb.add_option("--density", flags->density,
                  "of a model of points: also draw the density that its ODE gives to the plane");
  flags->batch = verb.add_option("--batch", request.batch, "images at once: bounds the memory")
                     ->capture_default_str();
  verb.add_option("--columns", flags->columns, "of the grid")->check(CLI::Range(1, 1000));
  verb.add_option("--every", flags->every,
                  "also save the way from noise to image, every K steps, as a strip")
      ->check(CLI::Range(1, 100000));
  verb.add_option("--animate", flags->animate, "also save the way as an animated .webp or .png");
  verb.add_option("--noise", flags->noise, "safetensors with init [N,C,H,W] and steps [S,N,C,H,W]");
  verb.add_option("--save-tensor", flags->save_tensor,
                  "safetensors with samples (clamped) and raw");
  verb.add_flag("--force", flags->force, "replace what exists");
  verb.add_flag("--tune", flags->tune,
                "measure first which convolution is faster here for each shape");
  verb.add_flag("--profile", flags->profile,
                "say at the end where the time went, by kind of layer, from the second step on");
  add_common(verb);
  verb.callback([flags] { sample(*flags); });
}

}  // namespace tweedie::cli

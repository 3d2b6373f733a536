#include "sample_points.h"

#include <filesystem>

#include "cli.h"
#include "tweedie/io/safetensors.h"
#include "tweedie/pipeline/points.h"
#include "tweedie/pipeline/way.h"

namespace tweedie::cli {
namespace {

bool has_extension(const std::string& file, const char* extension) {
  return std::filesystem::path(file).extension() == extension;
}

void require_plot(const char* flag, const std::string& file) {
  if (!is_image_file(file) && !has_extension(file, ".svg"))
    fail("{} {}: unknown extension; known: .png, .jpg, .jpeg, .webp, .svg{}", flag, file,
         std::string(flag) == "--out" ? ", .csv" : "");
}

void check(const Model& model, const PointFiles& files) {
  const size_t columns = model.points()->columns.size();
  if (!files.out.empty() && !has_extension(files.out, ".csv")) require_plot("--out", files.out);
  const bool picture = !files.out.empty() && !has_extension(files.out, ".csv");
  if (columns < 2 && (picture || !files.animation.empty()))
    fail("{} has one column, which is no picture: --out FILE.csv writes the numbers", model.name);
  if (!files.animation.empty()) require_animation(files.animation);
  if (!files.density.empty()) require_plot("--density", files.density);
  if (!files.density.empty() && columns != 2)
    fail("--density {}: of two columns, and {} has {}", files.density, model.name, columns);
}

// That of all points, if there is one: the density is of one class.
std::optional<int64_t> only_class(const Model& model, const Plan& plan) {
  if (!model.conditional()) return {};
  for (const int64_t label : plan.classes)
    if (label != plan.classes.front())
      fail("--density: is of one class of {}: --class picks it", model.name);
  return plan.classes.front();
}

}  // namespace

void sample_points(Model& model, const GenerateRequest& request, PointFiles files,
                   const Json& facts) {
  if (files.out.empty() && files.tensor.empty() && files.animation.empty() && files.density.empty())
    files.out = "samples.png";
  check(model, files);
  const PointSpace space = *model.points();
  const Plan planned = plan(model, request);
  for (const std::string& note : planned.notes) notice(note);
  std::optional<int64_t> label;
  if (!files.density.empty()) label = only_class(model, planned);

  std::vector<Tensor> raw;
  ProgressBar bar("sampling");
  GenerateCallbacks callbacks = {.images = [&](int64_t, const Tensor& x) { raw.push_back(x); },
                                 .progress = std::ref(bar)};
  std::optional<PointFlow> flow;
  if (!files.animation.empty()) callbacks.way = std::ref(flow.emplace(planned.steps, space));
  const auto start = std::chrono::steady_clock::now();
  generate(model, request, planned, callbacks, interrupts());
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bar.finish();

  std::optional<Chart> plane;  // what can fail, before the first file
  if (!files.density.empty()) plane = density(model, label);
  const Tensor all = at::cat(raw).to(at::kFloat), points = to_points(all, space);
  Json json = description_of(planned);
  json.update(facts);
  const ImageText text = {{"tweedie", text_of(json)}};
  std::vector<std::string> written, classes;
  for (const int64_t k : planned.classes) classes.push_back(class_name(model, k));
  if (has_extension(files.out, ".csv")) {
    write_csv(files.out, points, space, classes);
  } else if (!files.out.empty()) {
    const std::vector<std::string> names =
        model.card ? model.card->classes : std::vector<std::string>{};
    write_scatter(files.out, scatter(points, space, planned.classes, names), text);
  }
  if (!files.animation.empty()) write_animation(files.animation, flow->frames(), 60);
  if (!files.tensor.empty())
    write_safetensors(files.tensor, {{"samples", points.to(at::kFloat)}, {"raw", all}});
  if (!files.density.empty()) write_scatter(files.density, *plane, text);
  for (const std::string& file : {files.out, files.animation, files.tensor, files.density}) {
    if (file.empty()) continue;
    written.push_back(file);
    print("wrote " + file);
  }
  json["seconds"] = seconds;
  json["files"] = written;
  if (common.json) print_json(json);
}

}  // namespace tweedie::cli

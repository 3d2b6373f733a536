#include "tweedie/pipeline/invert.h"

#include <ATen/ATen.h>

#include <chrono>

#include "tweedie/data/loader.h"
#include "tweedie/pipeline/generate.h"
#include "tweedie/samplers/invert.h"

namespace tweedie {
namespace {

// One an image; empty for a model without classes.
std::vector<int64_t> classes_of(const Model& model, const InvertRequest& request) {
  if (!model.conditional()) {
    if (!request.classes.empty())
      fail("--class: {} is unconditional: it has no classes", model.name);
    return {};
  }
  const int64_t n = request.images.size(0);
  std::vector<int64_t> classes = request.classes;
  if (classes.empty() && model.card && model.card->null_class) classes = {*model.card->null_class};
  if (classes.empty()) fail("--class is needed: {} has classes and no null class", model.name);
  if (classes.size() == 1) classes.assign(n, classes.front());
  if (static_cast<int64_t>(classes.size()) != n)
    fail("--class: {} entries for {} images: give one for all, or exactly {}", classes.size(), n,
         n);
  return classes;
}

}  // namespace

Tensor invert(Model& model, const InvertRequest& request, const ProgressFn& progress,
              const CancelToken& cancel) {
  const c10::InferenceMode guard;
  const at::Device device = model.net->parameters().front().device();
  const std::vector<int64_t> classes = classes_of(model, request);
  const Tensor labels = classes.empty() ? Tensor() : at::tensor(classes).to(device);
  const Plan way = plan(model, {.n = request.images.size(0),
                                .sampler = "ddim",
                                .steps = request.steps,
                                .classes = classes,
                                .spacing = request.spacing,
                                .clip_sample = false});  // a clipped step has no inverse
  const Process process(way.process);
  const Grid grid = make_grid(process, way.grid);
  const Denoiser denoise = process.denoiser(
      [&](const Tensor& x, const Tensor& t) { return model.net->forward(x, t, labels); });
  const auto start = std::chrono::steady_clock::now();
  const auto on_step = [&](int64_t step, int64_t total, const Tensor&, const Tensor&) {
    if (progress)
      progress({.done = step,
                .total = total,
                .unit = "step",
                .seconds =
                    std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                .values = {}});
    cancel.check();
  };
  const Tensor x =
      ddim_invert(denoise, request.images.to(device), grid.levels, process.schedule().level(0),
                  {.iterations = request.iterations}, on_step);
  return (x / grid.init).cpu();
}

Tensor read_pictures(const std::vector<std::string>& files, const Model& model) {
  const int64_t channels = model.options().in_channels;
  if (model.points()) fail("{} is a model of points: pictures are not for it", model.name);
  if (channels != 1 && channels != 3)
    fail("{} has {} channels: pictures have 1 or 3", model.name, channels);
  std::vector<Tensor> images;
  for (const std::string& file : files)
    images.push_back(
        to_tensor(fit_image(read_image(file), static_cast<int>(model.height),
                            static_cast<int>(model.width), static_cast<int>(channels))));
  return at::stack(images);
}

}  // namespace tweedie

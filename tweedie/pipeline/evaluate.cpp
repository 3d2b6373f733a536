#include "tweedie/pipeline/evaluate.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "tweedie/process/timesteps.h"

namespace tweedie {
namespace {

ProcessOptions process_of(const Model& model, const EvaluateRequest& request) {
  ProcessOptions options = model.process_options();
  if (request.spacing) options.timestep_spacing = *request.spacing;
  if (!request.steps)
    options.timestep_spacing = "leading", options.steps_offset = 0;  // all of them
  if (request.variance_type) options.variance_type = *request.variance_type;
  if (request.clip_sample) options.clip_sample = *request.clip_sample;
  if (request.clip_sample == false) options.thresholding = false;
  options.set_alpha_to_one = true;  // the chain of the bound ends at the data
  from_json(to_json(options), options);
  return options;
}

DatasetPtr images_of(const Model& model, const EvaluateRequest& request) {
  if (request.data.empty()) fail("evaluate: --data is missing: images the model has never seen");
  DatasetPtr data = open_dataset({.spec = request.data, .split = Split::kTest});
  if (data->size() == 0) fail("evaluate: {} holds no images", data->describe());
  if (data->point_space().has_value() != model.points().has_value())
    fail("evaluate: {} is a model of {}; the data: {}", model.name,
         model.points() ? "points" : "images", data->describe());
  return data;
}

// Whether the labels of the data are told; false: the null class, or nothing at all.
bool labels_told(const Model& model, const EvaluateRequest& request, const Dataset& data) {
  if (!model.conditional()) return false;
  const int64_t classes = static_cast<int64_t>(data.classes().size());
  const bool has_null = model.card && model.card->null_class;
  if (!request.tell_labels || classes == 0) {
    if (has_null) return false;
    fail("evaluate: {} takes a class and has no null class{}", model.name,
         classes == 0 ? ", and the data has no labels: " + data.describe() : "");
  }
  if (classes > model.class_count())
    fail("evaluate: the data has {} classes and {} knows {}", classes, model.name,
         model.class_count());
  return true;
}

Decoder decoder_of(const Model& model, const EvaluateRequest& request) {
  if (!model.points())
    return request.tanh_decoder ? Decoder::kDiscretisedTanh : Decoder::kDiscretised;
  if (request.tanh_decoder)
    fail("--tanh-decoder: is about 8-bit pixels, and {} is a model of points", model.name);
  return Decoder::kContinuous;
}

// From the density of x = (value - center) / scale to that of the values.
void to_data_units(Bpd& bpd, const PointSpace& space) {
  double shift = 0;
  for (const double scale : space.scale)
    shift += std::log2(scale) / static_cast<double>(space.scale.size());
  bpd.total += shift, bpd.monte_carlo_total += shift;
  bpd.decoder += shift, bpd.vlb[0] += shift;
}

std::string method_of(const EvaluateRequest& request, const ProcessOptions& options,
                      const Model& model, int64_t steps, bool labels, const std::string& data) {
  const BpdOptions& bpd = request.bpd;
  std::string text = "variational bound";
  text += steps == options.num_train_timesteps
              ? fmt::format(", {} steps", steps)
              : fmt::format(", {} of {} steps ({})", steps, options.num_train_timesteps,
                            options.timestep_spacing);
  text += bpd.exact ? ", all t" : fmt::format(", {} t an image", bpd.t_per_image);
  text += ", variance " + options.variance_type;
  text += options.thresholding  ? ", x_0 thresholded"
          : options.clip_sample ? ", x_0 clipped"
                                : ", x_0 not clipped";
  text += model.points() ? ", continuous Gaussian decoder: bits of a density, in the data's units"
          : request.tanh_decoder ? ", decoder by tanh"
                                 : ", discretised Gaussian decoder";
  if (model.conditional()) text += labels ? ", labels told" : ", null class";
  return text + "; " + data;
}

}  // namespace

EvaluateResult evaluate_bpd(Model& model, const EvaluateRequest& request,
                            const ProgressFn& progress, const CancelToken& cancel) {
  const ProcessOptions options = process_of(model, request);
  const Process process(options);
  const int64_t steps = request.steps.value_or(options.num_train_timesteps);
  if (request.batch < 1) fail("--batch {}: expected at least 1", request.batch);
  const bool learned = options.variance_type.starts_with("learned");
  if (learned && model.options().out_channels != 2 * model.options().in_channels)
    fail("evaluate: variance_type {} needs a network with a learned variance: {} has none",
         options.variance_type, model.name);
  const VariationalBound bound(process.levels(steps), options.variance_type,
                               decoder_of(model, request));
  const DatasetPtr data = images_of(model, request);
  const bool labels = labels_told(model, request, *data);

  LoaderOptions loader;
  loader.batch_size = request.batch;
  loader.height = static_cast<int>(model.height), loader.width = static_cast<int>(model.width);
  loader.channels = static_cast<int>(model.options().in_channels);
  loader.points = model.points();
  if (!loader.points && loader.channels != 1 && loader.channels != 3)
    fail("evaluate: {} has {} channels: images have 1 or 3", model.name, loader.channels);
  const LabelledNetwork network = [&](const Tensor& x, const Tensor& t, const Tensor& of_data) {
    Tensor told;
    if (labels) told = of_data;
    if (!labels && model.conditional()) told = at::full_like(of_data, *model.card->null_class);
    return model.net->forward(x, t, told);
  };
  const at::Device device = model.net->parameters().front().device();
  EvaluateResult out;
  out.method = method_of(request, options, model, steps, labels, data->describe());
  const Tensor t = bound.timesteps();
  out.timesteps.assign(t.data_ptr<double>(), t.data_ptr<double>() + t.numel());
  std::vector<int64_t> indices =
      timesteps(options.timestep_spacing, options.num_train_timesteps, steps, options.steps_offset);
  std::reverse(indices.begin(), indices.end());
  out.bpd = variational_bpd(network, process, bound, indices, data, loader, device, request.bpd,
                            progress, cancel);
  if (loader.points) to_data_units(out.bpd, *loader.points);
  return out;
}

}  // namespace tweedie

#include "tweedie/pipeline/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "tweedie/process/timesteps.h"

namespace tweedie {
namespace {

ProcessOptions process_of(const Model& model, const EvaluateRequest& request) {
  ProcessOptions options = model.process_options();
  if (request.variance_type) options.variance_type = *request.variance_type;
  if (request.clip_sample) options.clip_sample = *request.clip_sample;
  if (request.clip_sample == false) options.thresholding = false;
  options.set_alpha_to_one = true;  // the chain of the bound ends at the data
  from_json(to_json(options), options);
  return options;
}

// The bound's chain.
struct Chain {
  std::string spacing;
  std::vector<int64_t> timesteps;  // noisiest first
};

Chain chain_of(const ProcessOptions& options, const EvaluateRequest& request) {
  const int64_t T = options.num_train_timesteps;
  const std::string spacing = request.spacing.value_or(options.timestep_spacing);
  if (!is_respacing(spacing)) {
    if (!request.steps) return {"leading", timesteps("leading", T, T)};
    return {spacing, timesteps(spacing, T, *request.steps, options.steps_offset)};
  }
  const Chain chain{spacing, respaced(spacing, T)};
  const int64_t N = static_cast<int64_t>(chain.timesteps.size());
  if (request.steps.value_or(N) != N)
    fail("--steps {}: the spacing {} has {}", *request.steps, spacing, N);
  return chain;
}

// As told, else what the model's training left untouched; of its own data the share that it held
// out.
DatasetPtr untouched(const Model& model, const EvaluateRequest& request) {
  const Json config =
      model.card && model.card->config.is_object() ? model.card->config : Json::object();
  DatasetRequest own;
  own.spec = config.value(Json::json_pointer("/data/source"), std::string());
  own.holdout = config.value(Json::json_pointer("/data/holdout"), own.holdout);
  const auto kind = [](const std::string& spec) { return spec.substr(0, spec.find('@')); };
  if (!request.data.empty()) {
    const bool same = kind(request.data) == kind(own.spec);
    const double holdout = same ? own.holdout : DatasetRequest{}.holdout;
    return open_dataset({.spec = request.data, .split = Split::kTest, .holdout = holdout});
  }
  const DatasetPtr data = own.spec.empty() ? nullptr : open_heldout(own);
  if (!data)
    fail("evaluate: --data is missing, and {} does not say what it has never seen", model.name);
  return data;
}

DatasetPtr images_of(const Model& model, const EvaluateRequest& request) {
  const DatasetPtr data = untouched(model, request);
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

std::string told(const Model& model, bool labels) {
  if (!model.conditional()) return "";
  return labels ? ", labels told" : ", null class";
}

Decoder decoder_of(const Model& model, const EvaluateRequest& request) {
  if (!model.points())
    return request.tanh_decoder ? Decoder::kDiscretisedTanh : Decoder::kDiscretised;
  if (request.tanh_decoder)
    fail("--tanh-decoder: is about 8-bit pixels, and {} is a model of points", model.name);
  return Decoder::kContinuous;
}

// From the density of x = (value - center) / scale to that of the values, in bits/dim.
double to_data_units(const PointSpace& space) {
  double shift = 0;
  for (const double scale : space.scale)
    shift += std::log2(scale) / static_cast<double>(space.scale.size());
  return shift;
}

void to_data_units(Bpd& bpd, const PointSpace& space) {
  const double shift = to_data_units(space);
  bpd.total += shift, bpd.monte_carlo_total += shift;
  bpd.decoder += shift, bpd.vlb[0] += shift;
}

void to_data_units(OdeBpd& bpd, const PointSpace& space) {
  const double shift = to_data_units(space);
  bpd.total += shift, bpd.density += shift;
}

std::string method_of(const EvaluateRequest& request, const ProcessOptions& options, bool points,
                      const Chain& chain) {
  const BpdOptions& bpd = request.bpd;
  std::string text = "variational bound";
  const int64_t steps = static_cast<int64_t>(chain.timesteps.size());
  text +=
      steps == options.num_train_timesteps
          ? formatted(", {} steps", steps)
          : formatted(", {} of {} steps ({})", steps, options.num_train_timesteps, chain.spacing);
  text += bpd.exact ? ", all t" : formatted(", {} t an image", bpd.t_per_image);
  text += ", variance " + options.variance_type;
  text += options.thresholding  ? ", x_0 thresholded"
          : options.clip_sample ? ", x_0 clipped"
                                : ", x_0 not clipped";
  text += points ? ", continuous Gaussian decoder: bits of a density, in the data's units"
          : request.tanh_decoder ? ", decoder by tanh"
                                 : ", discretised Gaussian decoder";
  return text;
}

std::string method_of(const OdeBpdOptions& options, const OdeBpd& bpd) {
  const OdeLikelihoodOptions& ode = options.ode;
  return formatted(
      "probability-flow ODE, {} steps of {}, divergence {}, dequantisation {}, "
      "density at sigma/alpha {:.4g}",
      options.steps, ode.method,
      ode.divergence == "exact"
          ? "exact"
          : formatted("by {} {} probe{}", ode.probes, ode.probe, ode.probes == 1 ? "" : "s"),
      bpd.dequantisation, bpd.sigma);
}

// A model and the images it is judged by, checked.
struct Judged {
  Judged(Model& model, const EvaluateRequest& request)
      : options(process_of(model, request)),
        process(options),
        chain(chain_of(options, request)),
        bound(bound_along(process, process.levels_at(chain.timesteps), decoder_of(model, request))),
        device(model.net->parameters().front().device()) {
    if (request.batch < 1) fail("--batch {}: expected at least 1", request.batch);
    const bool learned = options.variance_type.starts_with("learned");
    if (learned && model.options().out_channels != 2 * model.options().in_channels)
      fail("evaluate: variance_type {} needs a network with a learned variance: {} has none",
           options.variance_type, model.name);
    data = images_of(model, request);
    const bool labels = labels_told(model, request, *data);
    context = told(model, labels) + "; " + data->describe();
    loader.batch_size = request.batch;
    loader.height = static_cast<int>(model.height), loader.width = static_cast<int>(model.width);
    loader.channels = static_cast<int>(model.options().in_channels);
    loader.points = model.points();
    if (!loader.points && loader.channels != 1 && loader.channels != 3)
      fail("evaluate: {} has {} channels: images have 1 or 3", model.name, loader.channels);
    network = [&model, labels](const Tensor& x, const Tensor& t, const Tensor& of_data) {
      Tensor given;
      if (labels) given = of_data;
      if (!labels && model.conditional()) given = at::full_like(of_data, *model.card->null_class);
      return model.net->forward(x, t, given);
    };
  }

  ProcessOptions options;
  Process process;
  Chain chain;
  VariationalBound bound;
  at::Device device;
  DatasetPtr data;
  std::string context;  // of a method: labels and data
  LoaderOptions loader;
  LabelledNetwork network;
};

}  // namespace

EvaluateResult evaluate_bpd(Model& model, const EvaluateRequest& request,
                            const ProgressFn& progress, const CancelToken& cancel) {
  const Judged judged(model, request);
  EvaluateResult out;
  out.method =
      method_of(request, judged.options, model.points().has_value(), judged.chain) + judged.context;
  const Tensor t = judged.bound.timesteps();
  out.timesteps.assign(t.data_ptr<double>(), t.data_ptr<double>() + t.numel());
  const std::vector<int64_t> indices(judged.chain.timesteps.rbegin(),
                                     judged.chain.timesteps.rend());
  out.bpd = variational_bpd(judged.network, judged.process, judged.bound, indices, judged.data,
                            judged.loader, judged.device, request.bpd, progress, cancel);
  if (judged.loader.points) to_data_units(out.bpd, *judged.loader.points);
  return out;
}

OdeResult evaluate_bpd_ode(Model& model, const EvaluateRequest& request, const ProgressFn& progress,
                           const CancelToken& cancel) {
  EvaluateRequest whole = request;
  whole.steps.reset(), whole.spacing.reset();  // of the bound's chain; the ODE has its own
  const Judged judged(model, whole);
  OdeResult out;
  out.bpd = ode_bpd(judged.network, judged.process, judged.bound, judged.data, judged.loader,
                    judged.device, request.ode, progress, cancel);
  if (judged.loader.points) to_data_units(out.bpd, *judged.loader.points);
  out.method = method_of(request.ode, out.bpd) + judged.context;
  return out;
}

}  // namespace tweedie

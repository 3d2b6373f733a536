#include "tweedie/train/checks.h"

namespace tweedie {

void check_setup(const TrainSetup& setup) {
  validate(setup.train);
  const NetworkOptions& model = setup.net->options();
  const LoaderOptions& data = setup.loader;
  if (!setup.data || setup.data->size() == 0) fail("[train] the dataset holds no images");
  if (!data.points && data.channels != 1 && data.channels != 3)
    fail("[train] model.in_channels is {}: images have 1 channel or 3", data.channels);
  const int64_t T = setup.process.schedule().size();
  if (model.time_embedding_type == "fourier")
    fail(
        "[train] model.time_embedding_type is fourier, which divides by the noise's level: the "
        "loss "
        "'{}' trains positional and learned ones",
        setup.objective.loss);
  if (model.time_embedding_type == "learned" && setup.process.options().path != "vp")
    fail(
        "[train] model.time_embedding_type is learned, of whole timesteps: process.path {} tells "
        "others",
        setup.process.options().path);
  if (model.time_embedding_type == "learned" && *model.num_train_timesteps < T)
    fail("[train] model.num_train_timesteps is {}: the process has {} timesteps",
         *model.num_train_timesteps, T);
  if (const Level last = setup.process.schedule().level(T - 1);
      last.alpha == 0 && setup.process.options().prediction_type == "epsilon")
    fail(
        "[train] process.prediction_type is epsilon and the schedule leaves no signal at t = {}, "
        "where x_0 does not follow from it: v_prediction, sample or flow_prediction",
        last.t);
  if (model.in_channels != data.channels)
    fail("[train] model.in_channels is {} and the {} have {}", model.in_channels,
         data.points ? "points" : "images",
         data.points ? formatted("{} columns", data.channels)
                     : formatted("{} channels", data.channels));
  const std::string& variance = setup.process.options().variance_type;
  const bool learned = variance.starts_with("learned");
  if (model.out_channels != (learned ? 2 : 1) * model.in_channels)
    fail(
        "[train] model.out_channels is {}: with process.variance_type {} it must be {}, {} "
        "model.in_channels",
        model.out_channels, variance, (learned ? 2 : 1) * model.in_channels,
        learned ? "twice" : "as");
  if (const auto size = model.image_size();
      size && *size != std::pair<int64_t, int64_t>(data.height, data.width))
    fail("[train] model.sample_size is {}x{} and the images are {}x{}", size->first, size->second,
         data.height, data.width);
  if (const int64_t m = setup.net->side_multiple(); data.height % m != 0 || data.width % m != 0)
    fail("[train] images of {}x{}: the network needs sides that are multiples of {}", data.height,
         data.width, m);
  const double dropout = setup.objective.label_dropout;
  if (dropout > 0 && !model.num_class_embeds)
    fail(
        "[train] objective.label_dropout = {} needs model.num_class_embeds: the network has no "
        "classes",
        dropout);
  if (!model.conditional()) return;
  const int64_t classes = static_cast<int64_t>(setup.data->classes().size());
  if (classes == 0)
    fail(
        "[train] the network takes class labels and the dataset has none: {}; "
        "leave model.num_class_embeds and model.class_embed_type null",
        setup.data->describe());
  if (model.class_embed_type == "identity")
    fail("[train] model.class_embed_type = identity takes vectors and a dataset has class indices");
  if (!model.num_class_embeds) return;
  const int64_t needed = classes + (dropout > 0);
  if (*model.num_class_embeds != needed)
    fail("[train] model.num_class_embeds is {}: the dataset has {} classes{}, so it must be {}",
         *model.num_class_embeds, classes,
         dropout > 0 ? " and label_dropout needs a null class" : "", needed);
}

std::vector<std::string> differences(const Json& before, const Json& now,
                                     const std::string& prefix) {
  std::vector<std::string> out;
  const auto value = [](const Json& json, const std::string& key) {
    return json.contains(key) ? json[key] : Json();
  };
  Json keys = before.is_object() ? before : Json::object();
  keys.update(now);
  for (const auto& [key, unused] : keys.items())
    if (value(before, key) != value(now, key))
      out.push_back(formatted("{}{} {} -> {}", prefix, key, value(before, key).dump(),
                              value(now, key).dump()));
  return out;
}

void check_same(const TrainState& saved, const TrainState& now, const std::filesystem::path& run,
                const NoticeFn& notice) {
  std::vector<std::string> changed = differences(saved.model, now.model, "model.");
  for (std::string& line : differences(saved.process, now.process, "process."))
    changed.push_back(std::move(line));
  if (!changed.empty()) {
    const size_t shown = std::min<size_t>(changed.size(), 4);
    fail("[train] {} was trained with another network or process: {}{}; resume needs the same",
         run.string(), fmt::join(changed.begin(), changed.begin() + shown, ", "),
         changed.size() > shown ? formatted(" and {} more", changed.size() - shown) : "");
  }
  if (!notice) return;
  changed = differences(saved.objective, now.objective, "objective.");
  for (std::string& line : differences(saved.train, now.train, "train."))
    changed.push_back(std::move(line));
  for (std::string& line : differences(saved.data, now.data, "data."))
    changed.push_back(line + ": from here on the training differs from one that was not stopped");
  if (saved.threads != now.threads)
    changed.push_back(formatted("threads {} -> {}: sums are rounded in another order",
                                saved.threads, now.threads));
  for (const std::string& line : changed) notice("changed since the checkpoint: " + line);
}

}  // namespace tweedie

#include "tweedie/train/plan.h"

#include <algorithm>

#include "tweedie/nn/state.h"

namespace tweedie {
namespace {

std::string size_text(int64_t bytes) {
  if (bytes < int64_t{1} << 20) return formatted("{} KiB", (bytes + 1023) >> 10);
  if (bytes < int64_t{10} << 30) return formatted("{} MiB", bytes >> 20);
  return formatted("{} GiB", bytes >> 30);
}

}  // namespace

TrainPlan plan_training(const TrainOptions& train, const NetworkImpl& net, int64_t dataset_images,
                        int64_t height, int64_t width, const std::filesystem::path& folder) {
  TrainPlan plan;
  plan.parameters = parameter_count(net);
  plan.weight_bytes = 5 * 4 * plan.parameters;
  const double bytes = train.precision == "bf16" ? 2.5 : 4;  // norms and losses stay float32
  plan.activation_bytes =
      static_cast<int64_t>(bytes * double(train.batch_size) * net.activation_floats(height, width));
  plan.dataset_images = dataset_images;
  plan.height = height, plan.width = width, plan.channels = net.options().in_channels;
  plan.steps = total_steps(train);
  plan.minutes = train.minutes;
  if (plan.steps) {
    plan.images = *plan.steps * train.images_per_step();
    plan.epochs = double(*plan.images) / double(std::max<int64_t>(1, dataset_images));
  }
  plan.batch_size = train.batch_size, plan.accumulate = train.accumulate;
  plan.precision = train.precision;
  plan.folder = folder;
  return plan;
}

std::vector<std::string> TrainPlan::lines() const {
  std::vector<std::string> out;
  out.push_back(formatted("network: {} parameters, {}x{}x{}", parameters, height, width, channels));
  out.push_back(
      formatted("memory: about {} ({} for weights, gradients, optimiser and EMA; {} for "
                "activations)",
                size_text(memory_bytes()), size_text(weight_bytes), size_text(activation_bytes)));
  const std::string batch = accumulate == 1
                                ? formatted("batch {}", batch_size)
                                : formatted("batch {} x {} accumulated", batch_size, accumulate);
  out.push_back(steps ? formatted("budget: {} steps, {} images, {:.1f} epochs of {}; {}, {}",
                                  *steps, *images, *epochs, dataset_images, batch, precision)
                      : formatted("budget: {:g} minutes over {} images; {}, {}",
                                  minutes.value_or(0), dataset_images, batch, precision));
  out.push_back(formatted("writes to {}", folder.string()));
  return out;
}

}  // namespace tweedie

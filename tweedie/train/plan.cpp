#include "tweedie/train/plan.h"

#include <algorithm>

namespace tweedie {
namespace {

// Floats that one image leaves behind for the backward pass. A resnet keeps its input, two
// normalised and two activated tensors and the first convolution's output, on the way up of twice
// the channels; an attention about ten tensors (its L x L weights are computed twice, not kept).
double activation_floats(const UNetOptions& model, int64_t height, int64_t width) {
  const int64_t levels = static_cast<int64_t>(model.block_out_channels.size());
  const auto is_attention = [](const std::string& type) {
    return type.find("Attn") != std::string::npos;
  };
  const auto attention = [](double channels, double places) { return 10 * channels * places; };
  double floats = 0;
  for (int64_t i = 0; i < levels; ++i) {
    const double places = double((height >> i) * (width >> i));
    const double c = double(model.block_out_channels[i]);
    const double down = double(model.layers_per_block), up = down + 1;
    floats += down * 7 * c * places + up * 10 * c * places + 2 * c * places;
    if (is_attention(model.down_block_types.at(i))) floats += down * attention(c, places);
    if (is_attention(model.up_block_types.at(levels - 1 - i))) floats += up * attention(c, places);
    if (i + 1 == levels && model.mid_block_type)
      floats += 2 * 7 * c * places + (model.add_attention ? attention(c, places) : 0);
  }
  return floats;
}

std::string size_text(int64_t bytes) {
  if (bytes < int64_t{1} << 20) return fmt::format("{} KiB", (bytes + 1023) >> 10);
  if (bytes < int64_t{10} << 30) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} GiB", bytes >> 30);
}

}  // namespace

TrainPlan plan_training(const TrainOptions& train, const UNetOptions& model, int64_t parameters,
                        int64_t dataset_images, int64_t height, int64_t width,
                        const std::filesystem::path& folder) {
  TrainPlan plan;
  plan.parameters = parameters;
  plan.weight_bytes = 5 * 4 * parameters;
  const double bytes = train.precision == "bf16" ? 2.5 : 4;  // norms and losses stay float32
  plan.activation_bytes = static_cast<int64_t>(bytes * double(train.batch_size) *
                                               activation_floats(model, height, width));
  plan.dataset_images = dataset_images;
  plan.height = height, plan.width = width, plan.channels = model.in_channels;
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
  out.push_back(
      fmt::format("network: {} parameters, {}x{}x{}", parameters, height, width, channels));
  out.push_back(
      fmt::format("memory: about {} ({} for weights, gradients, optimiser and EMA; {} for "
                  "activations)",
                  size_text(memory_bytes()), size_text(weight_bytes), size_text(activation_bytes)));
  const std::string batch = accumulate == 1
                                ? fmt::format("batch {}", batch_size)
                                : fmt::format("batch {} x {} accumulated", batch_size, accumulate);
  out.push_back(steps ? fmt::format("budget: {} steps, {} images, {:.1f} epochs of {}; {}, {}",
                                    *steps, *images, *epochs, dataset_images, batch, precision)
                      : fmt::format("budget: {:g} minutes over {} images; {}, {}",
                                    minutes.value_or(0), dataset_images, batch, precision));
  out.push_back(fmt::format("writes to {}", folder.string()));
  return out;
}

}  // namespace tweedie

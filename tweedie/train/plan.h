// What a training will cost, told before its first step.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tweedie/nn/network.h"
#include "tweedie/train/options.h"

namespace tweedie {

struct TrainPlan {
  int64_t parameters = 0;
  int64_t weight_bytes = 0;      ///< weights, gradients, Adam's two moments, EMA: float32 each
  int64_t activation_bytes = 0;  ///< kept for one backward pass, estimated; within about a third
  int64_t memory_bytes() const { return weight_bytes + activation_bytes; }

  int64_t dataset_images = 0, height = 0, width = 0, channels = 0;
  std::optional<int64_t> steps, images;  ///< in all; empty when the budget is in minutes
  std::optional<double> epochs, minutes;
  int64_t batch_size = 0, accumulate = 1;
  std::string precision;
  std::filesystem::path folder;

  /// For the user to read, a fact a line.
  std::vector<std::string> lines() const;
};

/// A pure function of its arguments.
TrainPlan plan_training(const TrainOptions& train, const NetworkImpl& net, int64_t dataset_images,
                        int64_t height, int64_t width, const std::filesystem::path& folder);

}  // namespace tweedie

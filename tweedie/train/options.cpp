#include "tweedie/train/options.h"

#include <algorithm>

namespace tweedie {

void validate(const TrainOptions& options) {
  std::vector<std::string> given;
  if (options.steps) given.push_back(formatted("train.steps = {}", *options.steps));
  if (options.images) given.push_back(formatted("train.images = {}", *options.images));
  if (options.minutes) given.push_back(formatted("train.minutes = {}", *options.minutes));
  if (given.empty())
    fail("[train] no budget: give exactly one of train.steps, train.images, train.minutes");
  if (given.size() > 1)
    fail("[train] more than one budget: {}; give exactly one", fmt::join(given, " and "));
  if (options.minutes && options.lr_schedule != "constant")
    fail(
        "[train] train.lr_schedule = {} needs train.steps or train.images: how many steps {} "
        "minutes hold is not known",
        options.lr_schedule, *options.minutes);
}

std::optional<int64_t> total_steps(const TrainOptions& options, int64_t step, int64_t images) {
  if (options.steps) return options.steps;
  if (!options.images) return std::nullopt;
  const int64_t each = options.images_per_step();
  const int64_t left = std::max<int64_t>(0, *options.images - images);
  return step + left / each + (left % each != 0);
}

}  // namespace tweedie

#include "tweedie/pipeline/way.h"

#include <algorithm>
#include <filesystem>

#include "tweedie/core/error.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/grid.h"

namespace tweedie {
namespace {
constexpr int64_t kRows = 8, kAnimated = 64, kFrames = 50, kLastFrames = 33;
}

Way::Way(int64_t n, int64_t steps, int64_t every, bool animate)
    : n_(n),
      steps_(steps),
      every_(every),
      frame_every_(animate ? std::max<int64_t>(1, steps / kFrames) : 0) {}

void Way::operator()(int64_t first, int64_t step, int64_t, const at::Tensor& x) {
  const auto due = [&](int64_t every) {
    return every > 0 && (step % every == 0 || step == steps_);
  };
  const int64_t limit = due(frame_every_) ? kAnimated : due(every_) ? kRows : 0;
  for (int64_t i = 0; i < x.size(0) && first + i < limit; ++i)
    pictures_[step].push_back(to_image(x[i]));
}

Image Way::strip() const {
  std::vector<int64_t> columns;
  for (const auto& [step, images] : pictures_)
    if (step % every_ == 0 || step == steps_) columns.push_back(step);
  std::vector<Image> cells;
  for (int64_t row = 0; row < std::min(n_, kRows); ++row)
    for (const int64_t step : columns) cells.push_back(pictures_.at(step).at(row));
  return tile(cells, static_cast<int>(columns.size()), 2);
}

std::vector<Image> Way::frames(int columns) const {
  std::vector<Image> frames;
  for (const auto& [step, images] : pictures_) {
    if (step % frame_every_ != 0 && step != steps_) continue;
    std::vector<Image> cells(images.begin(),
                             images.begin() + std::min<int64_t>(images.size(), kAnimated));
    frames.push_back(tile(cells, columns, 2));
  }
  if (!frames.empty()) frames.insert(frames.end(), kLastFrames, frames.back());
  return frames;
}

void require_animation(const std::string& file) {
  std::string extension = std::filesystem::path(file).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), ::tolower);
  if (extension != ".webp" && extension != ".png")
    fail("--animate {}: unknown kind of animation '{}'; known: .webp, .png", file, extension);
}

}  // namespace tweedie

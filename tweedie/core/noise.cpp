#include "tweedie/core/noise.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include "tweedie/core/error.h"

namespace tweedie {

SeededNoise::SeededNoise(uint64_t seed, int64_t first, std::vector<int64_t> sizes)
    : sizes_(std::move(sizes)) {
  for (int64_t i = 0; i < sizes_.at(0); ++i)
    rngs_.emplace_back(seed, stream_of("image", static_cast<uint64_t>(first + i)));
}

Tensor SeededNoise::draw() {
  RECORD_USER_SCOPE("tweedie::data");
  Tensor out = at::empty(sizes_, at::kFloat);
  const int64_t each = rngs_.empty() ? 0 : out.numel() / static_cast<int64_t>(rngs_.size());
  for (size_t i = 0; i < rngs_.size(); ++i)
    rngs_[i].fill_normal(out.data_ptr<float>() + i * each, each);
  return out;
}

ReplayedNoise::ReplayedNoise(Tensor init, Tensor steps)
    : init_(std::move(init)), steps_(std::move(steps)) {}

Tensor ReplayedNoise::draw() {
  const int64_t have = steps_.defined() ? steps_.size(0) : 0;
  if (next_ >= have)
    fail("[noise] the sampler asks for draw {} of 'steps' and the file has {}", next_ + 1, have);
  return steps_.select(0, next_++);
}

}  // namespace tweedie

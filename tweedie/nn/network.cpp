#include "tweedie/nn/network.h"

namespace tweedie {

std::optional<std::pair<int64_t, int64_t>> NetworkOptions::image_size() const {
  if (sample_size.is_null()) return {};
  if (sample_size.is_array())
    return {{sample_size[0].get<int64_t>(), sample_size[1].get<int64_t>()}};
  return {{sample_size.get<int64_t>(), sample_size.get<int64_t>()}};
}

}  // namespace tweedie

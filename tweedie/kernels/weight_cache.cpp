#include "tweedie/kernels/weight_cache.h"

namespace tweedie {

bool WeightCache::Key::operator==(const Key& other) const {
  return storage.is_alias_of(other.storage) && offset == other.offset && version == other.version &&
         sizes == other.sizes && strides == other.strides;
}

Tensor WeightCache::find(at::ArrayRef<Tensor> weights, const std::function<Tensor()>& make) {
  std::vector<Key> keys;
  for (const Tensor& w : weights) {
    if (w.is_inference()) return make();  // it does not tell of changes
    keys.push_back(
        {w.storage(), w.storage_offset(), w._version(), w.sizes().vec(), w.strides().vec()});
  }
  const std::lock_guard lock(mutex_);
  if (!made_.defined() || keys != keys_) {
    made_ = make();
    keys_ = std::move(keys);
  }
  return made_;
}

void WeightCache::drop() {
  const std::lock_guard lock(mutex_);
  made_.reset();
  keys_.clear();
}

}  // namespace tweedie

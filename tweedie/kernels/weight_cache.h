// What a layer makes of its weights and keeps between calls without autograd.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <mutex>
#include <vector>

namespace tweedie {

using at::Tensor;

/// Keeps a tensor made from weights for as long as these are not changed. Several threads may share
/// it.
class WeightCache {
 public:
  /// make(), or what it gave the last time if `weights` are the same tensors with the same values.
  Tensor find(at::ArrayRef<Tensor> weights, const std::function<Tensor()>& make);
  /// Forgets it.
  void drop();

 private:
  struct Key {
    c10::Storage storage;  // held, so that no other one gets its address
    int64_t offset;
    int64_t version;
    std::vector<int64_t> sizes, strides;
    bool operator==(const Key& other) const;
  };
  std::mutex mutex_;
  std::vector<Key> keys_;
  Tensor made_;
};

}  // namespace tweedie

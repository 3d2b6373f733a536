#include "tweedie/kernels/adamw.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/adamw.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "tweedie/kernels/partial-inl.h"

#ifndef TWEEDIE_KERNELS_ADAMW_ONCE
#define TWEEDIE_KERNELS_ADAMW_ONCE
namespace tweedie::kernels {

// Numbers begin..end of a tensor. Always the same ones, whatever the threads: the sums of the norm
// go chunk by chunk.
struct Chunk {
  const AdamWTensor* tensor;
  int64_t begin, end;
};

inline std::vector<Chunk> cut(std::span<const AdamWTensor> tensors) {
  constexpr int64_t kSize = 1 << 14;  // small enough to keep all threads busy to the end
  std::vector<Chunk> out;
  for (const AdamWTensor& t : tensors)
    for (int64_t begin = 0; begin < t.size; begin += kSize)
      out.push_back({&t, begin, std::min(begin + kSize, t.size)});
  return out;
}

// mean <- (1 - weight) mean + weight x, from the nearer end: weights 0 and 1 are exact.
struct RunningMean {
  explicit RunningMean(double weight)
      : from_x(weight >= 0.5), weight(float(from_x ? weight - 1 : weight)) {}
  bool from_x;
  float weight;
};

// The factors that all numbers share, from float64.
struct Factors {
  explicit Factors(const AdamWUpdate& u)
      : m(1 - u.beta1),
        v(1 - u.beta2),
        e(1 - u.ema_decay),
        gradient(float(u.gradient_scale)),
        keep(float(1 - u.learning_rate * u.weight_decay)),
        step(float(u.learning_rate / (1 - std::pow(u.beta1, u.k)))),
        root(float(1 / std::sqrt(1 - std::pow(u.beta2, u.k)))),
        epsilon(float(u.epsilon)) {}
  RunningMean m, v, e;
  float gradient, keep, step, root, epsilon;
};

}  // namespace tweedie::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

HWY_INLINE V follow(const RunningMean& mean, V old, V x) {
  return hn::MulAdd(hn::Set(D(), mean.weight), hn::Sub(x, old), mean.from_x ? x : old);
}

// The vector at i of each array; load and store know whether it is a whole one.
template <class Load, class Store>
HWY_INLINE void update_vector(const AdamWTensor& t, const Factors& f, int64_t i, Load&& load,
                              Store&& store) {
  const D d;
  const V g = hn::Mul(hn::Set(d, f.gradient), load(t.g + i));
  const V m = follow(f.m, load(t.m + i), g);
  const V v = follow(f.v, load(t.v + i), hn::Mul(g, g));
  const V root = hn::MulAdd(hn::Sqrt(v), hn::Set(d, f.root), hn::Set(d, f.epsilon));
  const V decayed = hn::Mul(hn::Set(d, f.keep), load(t.p + i));
  const V p = hn::NegMulAdd(hn::Set(d, f.step), hn::Div(m, root), decayed);
  store(m, t.m + i), store(v, t.v + i), store(p, t.p + i);
  if (t.e) store(follow(f.e, load(t.e + i), p), t.e + i);
}

void Update(std::span<const AdamWTensor> tensors, const AdamWUpdate& update,
            const ParallelFor& parallel) {
  const std::vector<Chunk> chunks = cut(tensors);
  const Factors factors(update);
  parallel(int64_t(chunks.size()), [&](int64_t first, int64_t last) {
    const int64_t lanes = hn::Lanes(D());
    for (int64_t c = first; c < last; ++c) {
      const auto [tensor, begin, end] = chunks[c];
      int64_t i = begin;
      for (; i + lanes <= end; i += lanes)
        update_vector(
            *tensor, factors, i, [](const float* from) { return hn::LoadU(D(), from); },
            [](V x, float* to) { hn::StoreU(x, D(), to); });
      if (i == end) continue;
      const auto left = size_t(end - i);
      update_vector(
          *tensor, factors, i, [left](const float* from) { return load_first(D(), left, from); },
          [left](V x, float* to) { store_first(x, D(), left, to); });
    }
  });
}

double Norm(std::span<const AdamWTensor> tensors, const ParallelFor& parallel) {
  const std::vector<Chunk> chunks = cut(tensors);
  std::vector<double> squares(chunks.size());
  parallel(int64_t(chunks.size()), [&](int64_t first, int64_t last) {
    const hn::ScalableTag<double> d;
    const hn::Rebind<float, decltype(d)> half;
    const int64_t lanes = hn::Lanes(d);
    for (int64_t c = first; c < last; ++c) {
      const auto [tensor, begin, end] = chunks[c];
      auto sum = hn::Zero(d);  // one is enough: memory is slower
      const auto add = [&](auto numbers) {
        const auto g = hn::PromoteTo(d, numbers);
        sum = hn::MulAdd(g, g, sum);
      };
      int64_t i = begin;
      for (; i + lanes <= end; i += lanes) add(hn::LoadU(half, tensor->g + i));
      if (i < end) add(load_first(half, size_t(end - i), tensor->g + i));
      squares[c] = hn::GetLane(hn::SumOfLanes(d, sum));
    }
  });
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Update);
HWY_EXPORT(Norm);

void adamw(std::span<const AdamWTensor> tensors, const AdamWUpdate& update,
           const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Update)(tensors, update, parallel);
}

double gradient_norm(std::span<const AdamWTensor> tensors, const ParallelFor& parallel) {
  return HWY_DYNAMIC_DISPATCH(Norm)(tensors, parallel);
}

}  // namespace tweedie::kernels
#endif

#include "tweedie/kernels/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/peak.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#ifndef TWEEDIE_KERNELS_PEAK_ONCE
#define TWEEDIE_KERNELS_PEAK_ONCE
namespace tweedie::kernels {

struct Multiplied {
  double flop;
  float sum;  // so that none of it can be left out
};

}  // namespace tweedie::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// About 10 us. Twelve sums hide the latency of four cycles of two units.
Multiplied Multiply(float start) {
  constexpr int kSums = 12, kRounds = 3000;
  const hn::CappedTag<float, 16> d;
  const auto factor = hn::Set(d, start), addend = hn::Set(d, 1 - start);
  hn::Vec<decltype(d)> sum[kSums];
#pragma GCC unroll 16
  for (int i = 0; i < kSums; ++i) sum[i] = hn::Set(d, start + static_cast<float>(i));
  for (int round = 0; round < kRounds; ++round)
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sum[i] = hn::MulAdd(sum[i], factor, addend);
#pragma GCC unroll 16
  for (int i = 1; i < kSums; ++i) sum[0] = hn::Add(sum[0], sum[i]);
  return {2.0 * kSums * kRounds * double(hn::Lanes(d)), hn::GetLane(hn::SumOfLanes(d, sum[0]))};
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Multiply);

double measure_peak(int threads, double seconds, const ParallelFor& parallel) {
  using Clock = std::chrono::steady_clock;
  const std::chrono::duration<double> slice(seconds / 4);
  double best = 0;
  for (int i = 0; i < 4; ++i) {  // the best: a slice may fall to another program
    const auto start = Clock::now();
    std::atomic<double> flop = 0;
    volatile float sink = 0.5f;
    parallel(threads, [&](int64_t, int64_t) {
      double done = 0;
      float factor = sink;
      while (Clock::now() - start < slice) {
        const Multiplied m = HWY_DYNAMIC_DISPATCH(Multiply)(factor);
        done += m.flop;
        factor = m.sum < 0 ? m.sum : factor;  // never
      }
      flop += done;
    });
    const std::chrono::duration<double> took = Clock::now() - start;
    best = std::max(best, flop / took.count());
  }
  return best;
}

}  // namespace tweedie::kernels
#endif

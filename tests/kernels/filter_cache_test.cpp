#include <thread>

#include "tests/kernels/support.h"
#include "tweedie/kernels/conv.h"

namespace tweedie {
namespace {

using testing::noise;

Tensor weight(uint64_t seed) { return noise({24, 20, 3, 3}, seed); }
Tensor image() { return noise({2, 20, 9, 7}, 100); }

// conv3x3 without autograd. `cache` may be null.
Tensor convolve(const Tensor& w, FilterCache* cache) {
  const at::NoGradGuard no_grad;
  return conv3x3(image(), w, {}, {.cache = cache});
}

void expect_current(const Tensor& w, FilterCache& cache, const char* what) {
  EXPECT_TRUE(at::equal(convolve(w, &cache), convolve(w, nullptr))) << what;
  EXPECT_TRUE(at::equal(convolve(w, &cache), convolve(w, nullptr))) << what << ", again";
}

bool keeps(FilterCache& cache, const Tensor& w) {
  const Tensor first = cache.find(w, 4);
  return cache.find(w, 4).is_same(first);
}

}  // namespace

TEST(FilterCache, ChangesNothingAndKeepsTheFilter) {
  FilterCache cache;
  const Tensor w = weight(1);
  expect_current(w, cache, "fresh");
  EXPECT_TRUE(keeps(cache, w));
  const Tensor last = channels_last(w);
  expect_current(last, cache, "another layout");
}

TEST(FilterCache, IsRenewedAfterAChangeInPlace) {
  FilterCache cache;
  const Tensor w = weight(1);
  expect_current(w, cache, "fresh");
  w.add_(1);
  expect_current(w, cache, "add_");
  w.detach().copy_(weight(2));
  expect_current(w, cache, "copy_ to what shares the memory");
  w[3][4].zero_();
  expect_current(w, cache, "a part");
  at::Tensor parameter = w.detach().clone().requires_grad_();
  expect_current(parameter, cache, "a parameter");
  {
    const at::NoGradGuard no_grad;
    parameter.mul_(2);
  }
  expect_current(parameter, cache, "a parameter changed without autograd");
}

TEST(FilterCache, IsRenewedForAnotherTensor) {
  FilterCache cache;
  Tensor w = weight(1);
  expect_current(w, cache, "fresh");
  w.set_data(weight(2));
  expect_current(w, cache, "set_data");
  const Tensor other = weight(3);
  expect_current(other, cache, "another");
  expect_current(w, cache, "back");
}

TEST(FilterCache, WorksInInferenceMode) {
  FilterCache cache;
  const Tensor w = weight(1);
  expect_current(w, cache, "before");
  {
    const c10::InferenceMode inference;
    expect_current(w, cache, "inside");
    w.add_(1);
    expect_current(w, cache, "changed inside");
    const Tensor born = weight(2);
    expect_current(born, cache, "born inside");
    born.add_(1);
    expect_current(born, cache, "born and changed inside");
    FilterCache other;
    other.find(w, 4);
  }
  expect_current(w, cache, "after");
  w.mul_(3);
  expect_current(w, cache, "changed after");
}

TEST(FilterCache, IsDroppedByACallWithAutograd) {
  FilterCache cache;
  const Tensor w = weight(1).requires_grad_();
  const Tensor first = cache.find(w, 4);
  const Tensor y = conv3x3(image(), w, {}, {.cache = &cache});
  EXPECT_LT(testing::distance(y, convolve(w, nullptr)), 1e-5) << "few tiles: another algorithm";
  // What changes its memory now need not tell.
  w.data_ptr<float>()[0] += 1;
  EXPECT_FALSE(cache.find(w, 4).is_same(first));
  expect_current(w, cache, "after");
  cache.drop();
  expect_current(w, cache, "dropped");
}

// A layer's plan may change, by tuning, and so may the size of its images.
TEST(FilterCache, ServesEveryPlanAndSize) {
  const at::NoGradGuard guard;
  const Tensor w = noise({20, 18, 3, 3}, 1);
  FilterCache cache;
  for (const int64_t side : {4, 8, 4, 9})
    for (const ConvPlan plan : {ConvPlan::kWinograd, ConvPlan::kStock, ConvPlan::kWinograd}) {
      const ConvPlans plans = {{{18, 20, side, side}, plan}};
      const Tensor x = noise({2, 18, side, side}, 2), exact = at::conv2d(x, w, {}, 1, 1);
      EXPECT_LT(testing::distance(conv3x3(x, w, {}, {.cache = &cache, .plans = &plans}), exact),
                1e-5)
          << side;
    }
}

// Each thread has a filter of its own, so that the others' are always being replaced.
TEST(FilterCache, ServesSeveralThreads) {
  FilterCache cache;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const Tensor w = noise({16, 16, 3, 3}, t), expected = FilterCache().find(w, 4);
      for (int i = 0; i < 2000; ++i) {
        if (i % 5 == 0) cache.drop();
        wrong += !at::equal(cache.find(w, 4), expected);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace tweedie

// Which algorithm a 3x3 convolution takes, and what is measured to decide it.
#include "tests/kernels/support.h"
#include "tweedie/kernels/conv.h"
#include "tweedie/kernels/instruction_set.h"
#include "tweedie/kernels/peak.h"
#include "tweedie/kernels/record.h"
#include "tweedie/kernels/tune.h"

namespace tweedie {
namespace {

using namespace testing;  // NOLINT: the vocabulary of these tests

thread_local int winograd_calls = 0;

// Convolutions of the last call that were Winograd's, by what they tell observers.
int count_winograd(const std::function<void()>& work) {
  const auto count = [](const at::RecordFunction& fn) -> std::unique_ptr<at::ObserverContext> {
    winograd_calls += std::string_view(fn.name()) == "tweedie::conv3x3";
    return nullptr;
  };
  winograd_calls = 0;
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(count));
  work();
  at::removeCallback(handle);
  return winograd_calls;
}

int count_winograd(int64_t n, const ConvShape& s, const ConvPlans* plans, bool training = false) {
  const at::AutoGradMode mode(training);
  const Tensor x = noise({n, s.in, s.height, s.width}, 1), w = noise({s.out, s.in, 3, 3}, 2);
  return count_winograd([&] { conv3x3(x, w, {}, {.plans = plans}); });
}

}  // namespace

TEST(ConvPlan, IsTheSameForEveryBatch) {
  for (const ConvShape& s : {ConvShape{32, 32, 7, 7}, {16, 48, 28, 28}, {3, 32, 8, 8}}) {
    const int expected = plan_conv3x3(s) == ConvPlan::kWinograd;
    EXPECT_EQ(count_winograd(1, s, nullptr), expected);
    EXPECT_EQ(count_winograd(64, s, nullptr), expected);
  }
}

TEST(ConvPlan, InTrainingLeavesAFewTilesToTheStockConvolution) {
  const auto expect = [](const ConvShape& s, int64_t batch, bool winograd) {
    EXPECT_EQ(plan_conv3x3_training(s, batch) == ConvPlan::kWinograd, winograd) << batch;
    EXPECT_EQ(count_winograd(batch, s, nullptr, /*training=*/true), winograd) << batch;
  };
  for (const int64_t batch : {1, 2, 3, 64}) expect({32, 32, 7, 7}, batch, batch >= 2);  // 4 of 4x4
  for (const int64_t batch : {1, 7, 8}) expect({32, 32, 4, 4}, batch, batch >= 8);      // 4 of 2x2
  EXPECT_EQ(plan_conv3x3_training({3, 32, 32, 32}, 64), ConvPlan::kStock);
}

TEST(ConvPlan, OfTheCallerComesFirstAndGivesTheSameNumbers) {
  for (const ConvShape& s : {ConvShape{32, 24, 9, 6}, {1, 3, 8, 8}, {5, 1, 1, 3}}) {
    const ConvPlans winograd = {{s, ConvPlan::kWinograd}}, stock = {{s, ConvPlan::kStock}};
    EXPECT_EQ(count_winograd(2, s, &winograd), 1);
    EXPECT_EQ(count_winograd(2, s, &stock), 0);
    const Tensor x = noise({2, s.in, s.height, s.width}, 1), w = noise({s.out, s.in, 3, 3}, 2);
    const Tensor exact = at::conv2d(in_float64(x), in_float64(w), {}, 1, 1);
    EXPECT_LT(distance(conv3x3(x, w, {}, {.plans = &winograd}), exact), 2e-5);
    EXPECT_LT(distance(conv3x3(x, w, {}, {.plans = &stock}), exact), 2e-5);
  }
  const ConvShape other{16, 16, 9, 9};
  const ConvPlans elsewhere = {{other, ConvPlan::kStock}};
  EXPECT_EQ(count_winograd(1, {32, 32, 9, 9}, &elsewhere), 1) << "the rule, where it says nothing";
}

TEST(ConvTimes, GrowWithTheWork) {
  const Threads one(1);
  for (const bool gradients : {false, true}) {
    const ConvTimes small = time_conv3x3({16, 16, 8, 8}, 1, gradients);
    const ConvTimes large = time_conv3x3({64, 64, 32, 32}, 4, gradients);
    EXPECT_GT(small.stock, 0);
    EXPECT_GT(small.winograd, 0);
    EXPECT_GT(large.stock, small.stock);
    EXPECT_GT(large.winograd, small.winograd);
  }
}

// A product of matrices is below it, though not by orders of magnitude.
TEST(Peak, IsAboveWhatLibTorchReaches) {
#ifdef TWEEDIE_SANITIZED
  GTEST_SKIP() << "a sanitizer slows our code, not LibTorch's";
#endif
  const Threads one(1);
  const Tensor a = noise({512, 512}, 1), b = noise({512, 512}, 2);
  double best = 1e9, peak = 0;  // of rounds side by side: others may be using this core
  for (int round = 0; round < 5; ++round) {
    peak = std::max(peak, kernels::measure_peak(1, 0.02, kernels::on_torch_threads));
    const auto start = std::chrono::steady_clock::now();
    at::mm(a, b);
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  EXPECT_GT(peak, 1e8);
  if (kernels::instruction_set() != kernels::instruction_sets().front()) return;
  EXPECT_GT(peak, 0.8 * 2 * 512.0 * 512 * 512 / best);
}

}  // namespace tweedie

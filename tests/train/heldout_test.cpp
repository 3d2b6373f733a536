#include "tweedie/train/heldout.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/train/tiny_training.h"

namespace tweedie {
namespace {

LoaderOptions loader(int64_t batch) {
  LoaderOptions options;
  options.height = options.width = 8;
  options.batch_size = batch;
  options.flip = true;  // must be ignored
  return options;
}

Heldout measure(const LabelledNetwork& network, int64_t count, int64_t batch, uint64_t seed = 0) {
  return heldout_loss(network, Process(ProcessOptions{}), std::make_shared<Halves>(1000), count,
                      loader(batch), at::kCPU, seed);
}

Tensor says_time(const Tensor& x, const Tensor& t, const Tensor&) {
  return (t.to(at::kFloat) / 1000).view({-1, 1, 1, 1}).expand_as(x);
}

}  // namespace

// A network that answers a constant c where eps is asked for has the loss E[(eps - c)^2] = 1 + c^2;
// with c = t/T a quarter's loss is 1 + the mean of u^2 over that quarter of [0, 1].
TEST(Heldout, LossByQuarterOfTimeIsWhatTheExpectationSays) {
  const Heldout h = measure(says_time, 1000, 100);
  const auto expected = [](double a, double b) {
    return 1 + (b * b * b - a * a * a) / (3 * (b - a));
  };
  EXPECT_NEAR(h.q1, expected(0, 0.25), 0.05);
  EXPECT_NEAR(h.q2, expected(0.25, 0.5), 0.05);
  EXPECT_NEAR(h.q3, expected(0.5, 0.75), 0.05);
  EXPECT_NEAR(h.q4, expected(0.75, 1), 0.05);
  EXPECT_DOUBLE_EQ(h.all, (h.q1 + h.q2 + h.q3 + h.q4) / 4);
}

TEST(Heldout, DependsOnSeedAndImagesAlone) {
  const Heldout once = measure(says_time, 50, 50);
  EXPECT_EQ(to_json(measure(says_time, 50, 7)), to_json(once));
  EXPECT_EQ(to_json(measure(says_time, 50, 50)), to_json(once));
  EXPECT_NE(measure(says_time, 50, 50, 1).all, once.all);
}

TEST(Heldout, SpreadsOverTheWholeSplitWithItsOwnLabels) {
  int64_t images = 0;
  std::vector<int64_t> quarters(4);
  bool labels_fit = true;
  const LabelledNetwork network = [&](const Tensor& x, const Tensor& t, const Tensor& labels) {
    for (int64_t i = 0; i < x.size(0); ++i) ++quarters[t[i].item<int64_t>() / 250];
    images += x.size(0);
    // Images 0, 100, ..., 900 of the dataset: all of class 0.
    labels_fit = labels_fit && labels.eq(0).all().item<bool>();
    return at::zeros_like(x);
  };
  measure(network, 10, 4);
  EXPECT_EQ(images, 10);
  EXPECT_TRUE(labels_fit);
  EXPECT_EQ(quarters, (std::vector<int64_t>{3, 3, 2, 2}));
  images = 0;
  measure([&](const Tensor& x, const Tensor&, const Tensor&) { return images += x.size(0), x; },
          5000, 64);
  EXPECT_EQ(images, 1000);
}

TEST(Heldout, OneImageStandsInForEveryQuarter) {
  const Heldout h = heldout_loss(says_time, Process(ProcessOptions{}), std::make_shared<Halves>(1),
                                 1000, loader(64), at::kCPU);
  for (const double q : {h.q1, h.q2, h.q3, h.q4}) EXPECT_GT(q, 0.5) << to_json(h).dump();
}

}  // namespace tweedie

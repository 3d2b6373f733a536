#include "tweedie/data/loader.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "tests/support/errors.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;

// Image i is 4 x 4, its pixel (x, y) is i at x = 0 and 0 elsewhere; its label is i % 10.
class Numbered : public Dataset {
 public:
  explicit Numbered(int64_t n, int64_t bad = -1, int side = 4) : n_(n), bad_(bad), side_(side) {}
  int64_t size() const override { return n_; }
  Example get(int64_t index) const override {
    if (index == bad_) fail("example {} is broken", index);
    Image image{side_, side_, 1, std::vector<uint8_t>(side_ * side_, 0)};
    for (int y = 0; y < side_; ++y) image.pixels[y * side_] = static_cast<uint8_t>(index);
    return {image, index % 10};
  }
  std::pair<int, int> common_size() const override { return {side_, side_}; }
  int common_channels() const override { return 1; }
  std::string describe() const override { return "numbered"; }

 private:
  int64_t n_, bad_;
  int side_;
};

LoaderOptions small(int64_t batch = 8, int workers = 2) {
  LoaderOptions options;
  options.batch_size = batch;
  options.height = options.width = 4;
  options.workers = workers;
  return options;
}

// The number of each image of a batch of unflipped Numbered.
std::vector<int64_t> numbers(const Batch& batch) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < batch.size(); ++i)
    result.push_back(std::lround((batch.images[i][0][0][0].item<double>() + 1) * 127.5));
  return result;
}

std::vector<int64_t> first_numbers(Loader& loader, size_t count) {
  std::vector<int64_t> all;
  while (all.size() < count)
    for (const int64_t n : numbers(loader.next())) all.push_back(n);
  all.resize(count);
  return all;
}

}  // namespace

TEST(Loader, EveryEpochIsAPermutationAndNoTwoAreAlike) {
  Loader loader(std::make_shared<Numbered>(50),
                small());  // 8 does not divide 50: batches cross epochs
  const std::vector<int64_t> stream = first_numbers(loader, 200);
  std::set<std::vector<int64_t>> orders;
  for (int epoch = 0; epoch < 4; ++epoch) {
    const std::vector<int64_t> order(stream.begin() + 50 * epoch,
                                     stream.begin() + 50 * (epoch + 1));
    EXPECT_EQ(std::set<int64_t>(order.begin(), order.end()).size(), 50u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 4u);
}

TEST(Loader, TheLabelBelongsToTheImage) {
  Loader loader(std::make_shared<Numbered>(50), small());
  for (int k = 0; k < 10; ++k) {
    const Batch batch = loader.next();
    const std::vector<int64_t> n = numbers(batch);
    for (int64_t i = 0; i < batch.size(); ++i)
      EXPECT_EQ(batch.labels[i].item<int64_t>(), n[i] % 10);
  }
}

TEST(Loader, TheStreamIsTheSameForAnyNumberOfWorkers) {
  LoaderOptions options = small(16);
  options.flip = true;
  options.crop = Crop::kRandom;
  options.height = 3;
  options.width = 2;
  std::vector<Tensor> streams;
  for (const int workers : {1, 2, 4}) {
    options.workers = workers;
    Loader loader(std::make_shared<Numbered>(100), options);
    std::vector<Tensor> images;
    for (int k = 0; k < 20; ++k) images.push_back(loader.next().images);
    streams.push_back(at::cat(images));
  }
  EXPECT_TRUE(streams[0].equal(streams[1]));
  EXPECT_TRUE(streams[0].equal(streams[2]));
}

TEST(Loader, ResumingInMidEpochContinuesTheStream) {
  LoaderOptions options = small(8, 3);
  options.flip = true;
  const auto data = std::make_shared<Numbered>(50);
  Loader whole(data, options);
  std::vector<Tensor> images, labels;
  for (int k = 0; k < 20; ++k) {
    const Batch batch = whole.next();
    images.push_back(batch.images);
    labels.push_back(batch.labels);
  }
  for (const int64_t after : {3, 6, 11}) {  // batch 6 crosses the end of the first epoch
    Loader resumed(data, options, after * 8);
    EXPECT_EQ(resumed.position(), after * 8);
    for (int64_t k = after; k < 20; ++k) {
      const Batch batch = resumed.next();
      EXPECT_TRUE(batch.images.equal(images[k])) << k;
      EXPECT_TRUE(batch.labels.equal(labels[k])) << k;
    }
    EXPECT_EQ(resumed.position(), 160);
  }
}

TEST(Loader, TheSeedDecidesTheOrder) {
  LoaderOptions options = small();
  const auto data = std::make_shared<Numbered>(50);
  Loader first(data, options), again(data, options);
  options.seed = 1;
  Loader other(data, options);
  const std::vector<int64_t> order = first_numbers(first, 50);
  EXPECT_EQ(first_numbers(again, 50), order);
  EXPECT_NE(first_numbers(other, 50), order);
}

TEST(Loader, WithoutShuffleThereIsOnePassWithAShortLastBatch) {
  LoaderOptions options = small();
  options.shuffle = false;
  Loader loader(std::make_shared<Numbered>(20), options);
  std::vector<int64_t> all;
  std::vector<int64_t> sizes;
  for (Batch batch = loader.next(); batch.images.defined(); batch = loader.next()) {
    sizes.push_back(batch.size());
    for (const int64_t n : numbers(batch)) all.push_back(n);
  }
  EXPECT_EQ(sizes, (std::vector<int64_t>{8, 8, 4}));
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(all.at(i), i);
  EXPECT_EQ(loader.position(), 20);
  EXPECT_FALSE(loader.next().images.defined());
}

TEST(Loader, FlippedImagesAreMirroredAndAboutHalfAre) {
  LoaderOptions options = small(100);
  options.shuffle = false;
  options.flip = true;
  Loader loader(std::make_shared<Numbered>(250), options);
  int flipped = 0, position = 0;
  for (Batch batch = loader.next(); batch.images.defined(); batch = loader.next())
    for (int64_t i = 0; i < batch.size(); ++i, ++position) {
      const Tensor plain = to_tensor(Numbered(250).get(position).image);
      if (batch.images[i].equal(plain)) continue;
      EXPECT_TRUE(batch.images[i].equal(plain.flip(2)));
      ++flipped;
    }
  EXPECT_NEAR(flipped, 125, 40);  // five standard deviations
}

TEST(Loader, ABatchMayHoldSeveralEpochs) {
  Loader loader(std::make_shared<Numbered>(3), small(10));
  std::map<int64_t, int> times;
  for (const int64_t n : first_numbers(loader, 30)) ++times[n];
  for (const auto& [n, count] : times) EXPECT_EQ(count, 10) << n;
}

TEST(Loader, RandomCropsCoverEveryPlaceAndCentreCropsOne) {
  LoaderOptions options = small(200);
  options.width = 2;  // 3 places in a width of 4
  const auto data = std::make_shared<Numbered>(1);
  std::set<double> brightest;
  options.crop = Crop::kRandom;
  Loader random(std::make_shared<Numbered>(256), options);
  int with_edge = 0;
  const Batch batch = random.next();
  for (int64_t i = 0; i < batch.size(); ++i) with_edge += (batch.images[i] > -1).any().item<bool>();
  EXPECT_NEAR(with_edge, 200 / 3.0, 34);  // five standard deviations
  options.crop = Crop::kCenter;
  Loader center(std::make_shared<Numbered>(256), options);
  EXPECT_TRUE(center.next().images.eq(-1).all().item<bool>());
}

TEST(Loader, AWorkersErrorComesOutOfNext) {
  LoaderOptions options = small();
  options.shuffle = false;
  Loader loader(std::make_shared<Numbered>(40, 17), options);
  EXPECT_EQ(loader.next().size(), 8);
  EXPECT_EQ(loader.next().size(), 8);
  EXPECT_EQ(message_of([&] { loader.next(); }), "example 17 is broken");
  EXPECT_EQ(message_of([&] { loader.next(); }), "example 17 is broken");
  EXPECT_EQ(loader.position(), 16);
}

TEST(Loader, LeavingEarlyStopsTheWorkers) {
  class Slow : public Numbered {
   public:
    Slow() : Numbered(1000) {}
    Example get(int64_t index) const override {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return Numbered::get(index);
    }
  };
  const auto start = std::chrono::steady_clock::now();
  { Loader loader(std::make_shared<Slow>(), small(500, 4)); }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
}

TEST(Loader, WrongOptionsAreRefusedByName) {
  const auto data = std::make_shared<Numbered>(4);
  const auto with = [&](auto change) {
    LoaderOptions options = small();
    change(options);
    return message_of([&] { Loader(data, options); });
  };
  EXPECT_TRUE(contains(with([](auto& o) { o.batch_size = 0; }), "batch_size 0"));
  EXPECT_TRUE(contains(with([](auto& o) { o.channels = 2; }), "channels 2: known: 1, 3"));
  EXPECT_TRUE(contains(with([](auto& o) { o.workers = 0; }), "workers 0"));
  EXPECT_TRUE(contains(with([](auto& o) { o.width = 0; }), "4x0"));
  EXPECT_TRUE(contains(message_of([&] { Loader(data, small(), -1); }), "start -1"));
  EXPECT_TRUE(
      contains(message_of([&] { Loader(std::make_shared<Numbered>(0), small()); }), "no images"));
}

}  // namespace tweedie

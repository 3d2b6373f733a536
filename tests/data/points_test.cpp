#include "tweedie/data/points.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/data/loader.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

DatasetPtr open(const std::string& spec, double holdout = 0.05) {
  return open_dataset({.spec = spec, .holdout = holdout});
}

// Everything of a dataset: [N,D] and its labels.
std::pair<Tensor, std::vector<int64_t>> all_of(const Dataset& data) {
  const Tensor points = at::empty({data.size(), data.common_channels()}, at::kDouble);
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < data.size(); ++i) {
    const Example example = data.get(i);
    for (size_t d = 0; d < example.point.size(); ++d) points[i][d] = example.point[d];
    labels.push_back(example.label);
  }
  return {points, labels};
}

}  // namespace

TEST(Points, MixtureHasTheMomentsThatItSays) {
  const auto [points, labels] = all_of(*open("points:mixture@test"));
  const PointMixture mixture = point_mixture();
  const double n = static_cast<double>(points.size(0));
  for (size_t k = 0; k < mixture.weights.size(); ++k) {
    const Tensor own = at::tensor(labels).eq(static_cast<int64_t>(k)).nonzero().squeeze(1);
    const double count = static_cast<double>(own.numel()), w = mixture.weights[k];
    EXPECT_NEAR(count / n, w, 4 * std::sqrt(w * (1 - w) / n));
    const Tensor mine = points.index_select(0, own);
    const double std = std::sqrt(mixture.variances[k]);
    for (int64_t d = 0; d < 2; ++d) {
      const Tensor column = mine.select(1, d);
      EXPECT_NEAR(column.mean().item<double>(), mixture.means[k][d], 4 * std / std::sqrt(count));
      EXPECT_NEAR(column.var().item<double>(), std * std, 4 * std * std * std::sqrt(2 / count));
    }
  }
}

TEST(Points, RingsAndMoonsLieWhereTheyBelong) {
  const auto [rings, ring] = all_of(*open("points:rings@test"));
  const auto [moons, moon] = all_of(*open("points:moons@test"));
  for (int64_t i = 0; i < 2000; ++i) {
    const double r = rings[i].norm().item<double>();
    EXPECT_NEAR(r, 0.5 * static_cast<double>(ring[i] + 1), 0.25);
    const Tensor center = moon[i] == 0 ? at::tensor({0., 0.}) : at::tensor({1., 0.5});
    EXPECT_NEAR((moons[i] - center).norm().item<double>(), 1, 0.4);
  }
}

TEST(Points, PartsAreDifferentDrawsAndTheSameEveryTime) {
  const DatasetPtr train = open("points:moons"), test = open("points:moons@test");
  EXPECT_EQ(train->size(), 50'000);
  EXPECT_EQ(test->size(), 10'000);
  EXPECT_EQ(open("points:moons@all")->size(), 60'000);
  EXPECT_EQ(train->get(7).point, open("points:moons@train")->get(7).point);
  std::set<double> seen;
  for (int64_t i = 0; i < train->size(); ++i) seen.insert(train->get(i).point[0]);
  for (int64_t i = 0; i < test->size(); ++i) EXPECT_EQ(seen.count(test->get(i).point[0]), 0u);
  EXPECT_NE(open("points:rings")->get(0).point, open("points:mixture")->get(0).point);
}

TEST(Points, ALoaderScalesThemAndRoundsNothing) {
  const DatasetPtr data = open("points:moons@test");
  LoaderOptions options{
      .batch_size = 100, .height = 1, .width = 1, .channels = 2, .shuffle = false};
  EXPECT_TRUE(contains(message_of([&] { Loader(data, options); }), "channels 2"));
  options.points = data->point_space();
  const Batch batch = Loader(data, options).next();
  ASSERT_EQ(batch.images.sizes(), (std::vector<int64_t>{100, 2, 1, 1}));
  for (int64_t i = 0; i < 100; ++i) {
    const Example example = data->get(i);
    EXPECT_EQ(batch.labels[i].item<int64_t>(), example.label);
    EXPECT_EQ(batch.images[i][0][0][0].item<float>(), float((example.point[0] - 0.5) / 0.75));
    EXPECT_EQ(batch.images[i][1][0][0].item<float>(), float((example.point[1] - 0.25) / 0.75));
  }
  options.channels = 3;
  EXPECT_TRUE(contains(message_of([&] { Loader(data, options).next(); }), "2 numbers where 3"));
  EXPECT_TRUE(
      contains(message_of([&] { Loader(data, {.height = 1, .width = 1, .channels = 1}).next(); }),
               "points, no images"));
}

TEST(Points, AFileIsReadWithItsNamesAndClasses) {
  const Scratch folder;
  folder.write("a.csv", "age, height,label\r\n20,1.5e0,b\n\n-4,2.5,a\n21,1,b\n");
  const DatasetPtr data = open("points:" + folder.path() + "/a.csv@all");
  const auto [points, labels] = all_of(*data);
  EXPECT_TRUE(at::equal(points, at::tensor({20., 1.5, -4., 2.5, 21., 1.}).view({3, 2})));
  EXPECT_EQ(labels, (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(data->classes(), (std::vector<std::string>{"a", "b"}));
  const PointSpace space = *data->point_space();
  EXPECT_EQ(space.columns, (std::vector<std::string>{"age", "height"}));
  const Tensor mean = points.mean(0), std = points.std(0, /*unbiased=*/false);
  for (int64_t d = 0; d < 2; ++d) {
    EXPECT_DOUBLE_EQ(space.center[d], mean[d].item<double>());
    EXPECT_DOUBLE_EQ(space.scale[d], std[d].item<double>());
  }
  folder.write("marked.csv", "\xef\xbb\xbfx,y\n1,2\n3,4\n");
  EXPECT_EQ(open("points:" + folder.path() + "/marked.csv@all")->point_space()->columns.front(),
            "x");
  folder.write("b.csv", "1,2,3\n4,5,7\n");
  const DatasetPtr plain = open("points:" + folder.path() + "/b.csv@all");
  EXPECT_EQ(plain->common_channels(), 3);
  EXPECT_TRUE(plain->classes().empty());
  EXPECT_EQ(plain->get(0).label, -1);
  EXPECT_TRUE(contains(plain->describe(), "2 points (column 1, column 2, column 3)"));
}

TEST(Points, AHashOfTheLineHoldsAShareOfAFileOut) {
  const Scratch folder;
  std::string text;
  for (int i = 0; i < 2000; ++i) text += formatted("{},{}\n", i, i * i);
  folder.write("a.csv", text);
  const std::string spec = "points:" + folder.path() + "/a.csv";
  const DatasetPtr train = open(spec, 0.2), test = open(spec + "@test", 0.2);
  EXPECT_EQ(train->size() + test->size(), 2000);
  EXPECT_NEAR(static_cast<double>(test->size()), 400, 4 * std::sqrt(2000 * 0.2 * 0.8));
  std::set<double> seen;
  for (int64_t i = 0; i < train->size(); ++i) seen.insert(train->get(i).point[0]);
  for (int64_t i = 0; i < test->size(); ++i) EXPECT_EQ(seen.count(test->get(i).point[0]), 0u);
  EXPECT_EQ(train->point_space()->center, test->point_space()->center);
  EXPECT_EQ(open_heldout({.spec = spec, .holdout = 0}), nullptr);
}

TEST(Points, WhatIsWrongWithAFileIsNamedByItsLine) {
  const Scratch folder;
  const auto refused = [&](const std::string& text) {
    folder.write("a.csv", text);
    return message_of([&] { open("points:" + folder.path() + "/a.csv@all"); });
  };
  EXPECT_TRUE(contains(refused("x,y\n1,2\n3\n"), "a.csv:3: 1 fields where 2 belong"));
  EXPECT_TRUE(
      contains(refused("x,y\n1,2\n3,four\n"), "a.csv:3: 'four' is not a finite number (y)"));
  EXPECT_TRUE(contains(refused("1,2\n\n3,nan\n"), "a.csv:3: 'nan'"));
  EXPECT_TRUE(contains(refused("1,2\n3,1e999\n"), "a.csv:2: '1e999'"));
  EXPECT_TRUE(contains(refused("1,2\n3,\n"), "a.csv:2: ''"));
  EXPECT_TRUE(contains(refused("x,label\n1,a\n2,\n"), "a.csv:3: the label is empty"));
  EXPECT_TRUE(contains(refused("x,,label\n1,2,a\n"), "column 2 has no name"));
  EXPECT_TRUE(contains(refused("x,x\n1,2\n3,4\n"), "two columns are named x"));
  EXPECT_TRUE(contains(refused("x,y\n1e300,2\n-1e300,4\n"), "numbers of x are too large"));
  EXPECT_TRUE(contains(refused("x,y\n1,2\n1,3\n"), "x is the same in every line"));
  EXPECT_TRUE(contains(refused(""), "no points"));
  EXPECT_TRUE(contains(refused("x,y\n"), "no points"));
  EXPECT_TRUE(contains(refused("label\na\n"), "a label and no numbers"));
}

TEST(Points, UnknownNamesGetTheKnownOnes) {
  EXPECT_TRUE(contains(message_of([] { open("points:moon"); }), "did you mean moons?"));
  EXPECT_TRUE(contains(message_of([] { open("points:"); }), "known: moons, rings, mixture"));
  EXPECT_TRUE(contains(message_of([] { open("points"); }), "points:NAME"));
  EXPECT_TRUE(contains(message_of([] { open("points:/no/such.csv"); }), "no such file"));
}

}  // namespace tweedie

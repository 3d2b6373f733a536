// moons and rings are those of scikit-learn's make_moons and make_circles, with a third ring.
#include "tweedie/data/points.h"

#include <cmath>
#include <numbers>

#include "tweedie/core/error.h"
#include "tweedie/core/rng.h"
#include "tweedie/data/sources.h"

namespace tweedie {
namespace {

constexpr int64_t kTrain = 50'000, kTest = 10'000;
constexpr double kMoonNoise = 0.08, kRingNoise = 0.05;
constexpr double kRadii[] = {0.5, 1, 1.5};

struct Drawn {
  double x, y;
  int64_t label;
};

Drawn moon(Rng& rng) {
  const auto label = static_cast<int64_t>(rng.below(2));
  const double a = std::numbers::pi * rng.uniform();
  const double x = label == 0 ? std::cos(a) : 1 - std::cos(a);
  const double y = label == 0 ? std::sin(a) : 0.5 - std::sin(a);
  return {x + kMoonNoise * rng.normal(), y + kMoonNoise * rng.normal(), label};
}

Drawn ring(Rng& rng) {
  const auto label = static_cast<int64_t>(rng.below(3));
  const double a = 2 * std::numbers::pi * rng.uniform(), r = kRadii[label];
  return {r * std::cos(a) + kRingNoise * rng.normal(), r * std::sin(a) + kRingNoise * rng.normal(),
          label};
}

Drawn component(Rng& rng) {
  const PointMixture mixture = point_mixture();
  double left = rng.uniform();  // the weights add up to 1
  size_t i = 0;
  while (i + 1 < mixture.weights.size() && left >= mixture.weights[i]) left -= mixture.weights[i++];
  const double std = std::sqrt(mixture.variances[i]);
  const double x = mixture.means[i][0] + std * rng.normal();
  return {x, mixture.means[i][1] + std * rng.normal(), static_cast<int64_t>(i)};
}

struct Kind {
  std::string name;
  Drawn (*draw)(Rng&);
  std::vector<std::string> classes;
  std::vector<double> center, scale;  // about the mean and the standard deviation
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"moons", moon, {"upper", "lower"}, {0.5, 0.25}, {0.75, 0.75}},
      {"rings", ring, {"inner", "middle", "outer"}, {0, 0}, {0.75, 0.75}},
      {"mixture", component, {"0", "1", "2", "3", "4"}, {0, 0}, {1, 1}}};
  return all;
}

void append(Points& points, const Kind& kind, const char* part, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(stream_of("points " + kind.name), stream_of(part, i));
    const Drawn drawn = kind.draw(rng);
    points.values.insert(points.values.end(), {drawn.x, drawn.y});
    points.labels.push_back(drawn.label);
  }
}

}  // namespace

PointMixture point_mixture() {
  return {.weights = {0.3, 0.25, 0.2, 0.15, 0.1},
          .means = {{-1.1, -0.6}, {0.9, -0.9}, {1, 0.9}, {-0.7, 1.1}, {0.1, 0.1}},
          .variances = {0.06, 0.03, 0.05, 0.02, 0.015}};
}

PointDataset::PointDataset(std::string name, Points points)
    : name_(std::move(name)), points_(std::move(points)) {}

Example PointDataset::get(int64_t index) const {
  if (index < 0 || index >= size()) fail("[data] example {} of {}", index, size());
  const auto D = static_cast<int64_t>(points_.space.columns.size());
  const double* first = points_.values.data() + index * D;
  return {.label = points_.labels.empty() ? -1 : points_.labels[index],
          .point = {first, first + D}};
}

std::string PointDataset::describe() const {
  return formatted("{}: {} ({}), {}", name_, counted(size(), "point", "points"),
                   fmt::join(points_.space.columns, ", "),
                   counted(static_cast<int64_t>(points_.classes.size()), "class", "classes"));
}

std::vector<std::string> point_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) names.push_back(kind.name);
  return names;
}

DatasetPtr open_named_points(const std::string& name, Split split) {
  for (const Kind& kind : kinds()) {
    if (kind.name != name) continue;
    Points points{.space = {{"x", "y"}, kind.center, kind.scale}, .classes = kind.classes};
    if (split != Split::kTest) append(points, kind, "train", kTrain);
    if (split != Split::kTrain) append(points, kind, "test", kTest);
    return std::make_shared<PointDataset>("points:" + name + "@" + split_name(split),
                                          std::move(points));
  }
  fail("[data] {}; or a file: points:FILE.csv", unknown_message("points", name, point_names()));
}

}  // namespace tweedie

#include "tweedie/data/shapes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>

#include "tweedie/core/rng.h"
#include "tweedie/data/sources.h"

namespace tweedie {
namespace {

constexpr int64_t kTrain = 50000, kTest = 5000;
constexpr double kPi = std::numbers::pi;
enum Kind { kCircle, kSquare, kTriangle, kStar, kRing, kCross, kKinds };

struct Point {
  double x, y;
};
using Rgb = std::array<double, 3>;

// A scene in pixels. The shape fits a circle of radius `radius` about `center`.
struct Scene {
  Kind kind;
  Point center;
  double radius, angle;
  Rgb color, background_from, background_to;
  double gradient;  // its direction
};

// The outline of a shape of radius 1; empty for the round ones.
std::vector<Point> outline(Kind kind) {
  std::vector<Point> points;
  const auto on_circles = [&](int n, double odd_radius) {
    for (int i = 0; i < n; ++i) {
      const double angle = 2 * kPi * i / n, radius = i % 2 ? odd_radius : 1;
      points.push_back({radius * std::sin(angle), -radius * std::cos(angle)});
    }
  };
  if (kind == kSquare) on_circles(4, 1);
  if (kind == kTriangle) on_circles(3, 1);
  if (kind == kStar) on_circles(10, 0.45);
  if (kind == kCross) {
    const double a = 0.32, b = std::sqrt(1 - a * a);
    points = {{-a, -b}, {a, -b}, {a, -a}, {b, -a}, {b, a},   {a, a},
              {a, b},   {-a, b}, {-a, a}, {-b, a}, {-b, -a}, {-a, -a}};
  }
  return points;
}

const std::vector<Point>& outline_of(Kind kind) {
  static const std::vector<std::vector<Point>> all = [] {
    std::vector<std::vector<Point>> outlines;
    for (int kind = 0; kind < kKinds; ++kind) outlines.push_back(outline(static_cast<Kind>(kind)));
    return outlines;
  }();
  return all[kind];
}

// Distance to a polygon's edge, negative inside: the nearest edge, and a sign that flips at each
// crossing of the ray to the right of p.
double polygon_distance(const std::vector<Point>& points, Point p) {
  double squared = INFINITY;
  bool inside = false;
  for (size_t i = 0, j = points.size() - 1; i < points.size(); j = i++) {
    const Point a = points[i], b = points[j];
    const double ex = b.x - a.x, ey = b.y - a.y, wx = p.x - a.x, wy = p.y - a.y;
    const double along = std::clamp((wx * ex + wy * ey) / (ex * ex + ey * ey), 0.0, 1.0);
    const double dx = wx - along * ex, dy = wy - along * ey;
    squared = std::min(squared, dx * dx + dy * dy);
    if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + ex * (p.y - a.y) / ey) inside = !inside;
  }
  return inside ? -std::sqrt(squared) : std::sqrt(squared);
}

// Distance in pixels from the centre of pixel (x, y) to the edge of the shape, negative inside.
double distance(const Scene& scene, int x, int y) {
  const double dx = (x + 0.5 - scene.center.x) / scene.radius;
  const double dy = (y + 0.5 - scene.center.y) / scene.radius;
  const double from_center = std::hypot(dx, dy);
  if (scene.kind == kCircle || from_center > 1 + 2 / scene.radius)
    return (from_center - 1) * scene.radius;
  if (scene.kind == kRing) return (std::abs(from_center - 0.75) - 0.25) * scene.radius;
  const double c = std::cos(scene.angle), s = std::sin(scene.angle);
  return polygon_distance(outline_of(scene.kind), {c * dx + s * dy, c * dy - s * dx}) *
         scene.radius;
}

Rgb hsv(double hue, double saturation, double value) {
  Rgb rgb;
  for (int c = 0; c < 3; ++c) {
    const double k = std::fmod(hue * 6 + 5 - 2 * c, 6.0);
    rgb[c] = value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0, 1.0));
  }
  return rgb;
}

Scene draw_scene(int height, int width, bool train, int64_t index) {
  Rng rng(0, stream_of(train ? "shapes train" : "shapes test", index));
  const auto within = [&](double low, double high) { return low + (high - low) * rng.uniform(); };
  Scene scene;
  scene.kind = static_cast<Kind>(rng.below(kKinds));
  scene.radius = within(0.2, 0.42) * std::min(height, width);
  scene.center.x = within(scene.radius, width - scene.radius);
  scene.center.y = within(scene.radius, height - scene.radius);
  scene.angle = within(0, 2 * kPi);
  const double hue = rng.uniform(), saturation = within(0.65, 1), value = within(0.55, 0.95);
  scene.color = hsv(hue, saturation, value);
  for (Rgb* background : {&scene.background_from, &scene.background_to}) {
    const double pale_hue = rng.uniform(), pale = within(0.02, 0.25), bright = within(0.75, 1);
    *background = hsv(pale_hue, pale, bright);
  }
  scene.gradient = within(0, 2 * kPi);
  return scene;
}

// Where (x, y) lies on the way of the background's gradient, in [0, 1].
double gradient_at(const Scene& scene, int x, int y, int height, int width) {
  const double c = std::cos(scene.gradient), s = std::sin(scene.gradient);
  const double reach = std::abs(c) * width + std::abs(s) * height;
  return 0.5 + (c * (x + 0.5 - width / 2.0) + s * (y + 0.5 - height / 2.0)) / reach;
}

bool in_train(Split split, int64_t index) {
  return split == Split::kTrain || (split == Split::kAll && index < kTrain);
}

Scene scene_of(const ShapesDataset& data, Split split, int64_t index) {
  TORCH_CHECK(index >= 0 && index < data.size(), "example ", index, " of ", data.size());
  const auto [height, width] = data.common_size();
  const bool train = in_train(split, index);
  return draw_scene(height, width, train, split == Split::kAll && !train ? index - kTrain : index);
}

}  // namespace

ShapesDataset::ShapesDataset(int height, int width, Split split)
    : height_(height), width_(width), split_(split) {
  if (std::min(height, width) < 8 || std::max(height, width) > 4096)
    fail("[data] shapes of {}x{} pixels: 8 to 4096 a side", height, width);
}

int64_t ShapesDataset::size() const {
  return split_ == Split::kTrain ? kTrain : split_ == Split::kTest ? kTest : kTrain + kTest;
}

std::vector<std::string> ShapesDataset::classes() const {
  return {"circle", "square", "triangle", "star", "ring", "cross"};
}

Example ShapesDataset::get(int64_t index) const {
  const Scene scene = scene_of(*this, split_, index);
  Image image{width_, height_, 3, std::vector<uint8_t>(size_t{3} * width_ * height_)};
  uint8_t* out = image.pixels.data();
  for (int y = 0; y < height_; ++y)
    for (int x = 0; x < width_; ++x) {
      // An edge crosses a pixel over one pixel's width.
      const double covered = std::clamp(0.5 - distance(scene, x, y), 0.0, 1.0);
      const double way = gradient_at(scene, x, y, height_, width_);
      for (int c = 0; c < 3; ++c) {
        const double back = std::lerp(scene.background_from[c], scene.background_to[c], way);
        *out++ = static_cast<uint8_t>(std::lround(255 * std::lerp(back, scene.color[c], covered)));
      }
    }
  return {std::move(image), scene.kind};
}

Image ShapesDataset::mask(int64_t index) const {
  const Scene scene = scene_of(*this, split_, index);
  Image mask{width_, height_, 1, std::vector<uint8_t>(size_t{1} * width_ * height_)};
  for (int y = 0; y < height_; ++y)
    for (int x = 0; x < width_; ++x)
      mask.pixels[size_t{1} * y * width_ + x] = distance(scene, x, y) < 0 ? 255 : 0;
  return mask;
}

std::string ShapesDataset::describe() const {
  return formatted("shapes:{}x{}@{}: {} images {}x{}x3, {} classes, procedural", height_, width_,
                   split_name(split_), size(), height_, width_, classes().size());
}

DatasetPtr open_shapes(const std::string& size, Split split) {
  const auto wrong = [&] {
    fail("[data] shapes:{}: the size is a number of pixels or HEIGHTxWIDTH, such as 32 or 32x48",
         size);
  };
  std::vector<int> sides;
  const char* at = size.data();
  const char* const end = at + size.size();
  while (at != end) {
    int side = 0;
    const auto [next, error] = std::from_chars(at, end, side);
    if (error != std::errc() || (next != end && (*next != 'x' || next + 1 == end))) wrong();
    sides.push_back(side);
    at = next == end ? end : next + 1;
  }
  if (sides.size() > 2) wrong();
  if (sides.empty()) sides = {32};
  return std::make_shared<ShapesDataset>(sides.front(), sides.back(), split);
}

}  // namespace tweedie

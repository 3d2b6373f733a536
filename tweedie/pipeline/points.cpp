#include "tweedie/pipeline/points.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "tweedie/core/error.h"
#include "tweedie/io/files.h"
#include "tweedie/metrics/ode_likelihood.h"
#include "tweedie/process/grid.h"

namespace tweedie {
namespace {

constexpr double kReach = 3.2;  // of the axes, in scales from the centre: the noise fits too
constexpr int kSide = 460;
constexpr int64_t kShown = 2000, kTraced = 120, kFrames = 50, kLastFrames = 33;

void require_columns(const PointSpace& space, size_t least) {
  if (space.columns.size() < least)
    fail("[points] one column ({}) is no picture: write the numbers, a .csv",
         fmt::join(space.columns, ", "));
}

Chart axes_of(const PointSpace& space) {
  require_columns(space, 2);
  const auto from = [&](size_t d, double r) { return space.center[d] + r * space.scale[d]; };
  return {.x_label = space.columns[0],
          .y_label = space.columns[1],
          .box = Chart::Box{from(0, -kReach), from(0, kReach), from(1, -kReach), from(1, kReach)},
          .width = kSide + 84,
          .height = kSide + 84};
}

std::pair<double, double> place(const Tensor& points, int64_t i) {
  const double* row = points.data_ptr<double>() + i * points.size(1);
  return {row[0], row[1]};
}

}  // namespace

Tensor to_points(const Tensor& x, const PointSpace& space) {
  const auto exact = at::TensorOptions(at::kDouble);
  const Tensor scale = at::tensor(space.scale, exact), center = at::tensor(space.center, exact);
  return x.detach().to(at::kCPU, at::kDouble).flatten(1) * scale + center;
}

Tensor points_of(const Dataset& data, int64_t n, std::vector<int64_t>* labels) {
  n = std::min(n, data.size());
  const Tensor points = at::empty({n, data.common_channels()}, at::kDouble);
  double* out = points.data_ptr<double>();
  for (int64_t i = 0; i < n; ++i) {
    const Example example = data.get(i * data.size() / n);
    out = std::copy(example.point.begin(), example.point.end(), out);
    if (labels && example.label >= 0) labels->push_back(example.label);
  }
  return points;
}

void write_csv(const std::string& file, const Tensor& points, const PointSpace& space,
               const std::vector<std::string>& classes) {
  std::string text =
      formatted("{}{}\n", fmt::join(space.columns, ","), classes.empty() ? "" : ",label");
  for (int64_t i = 0; i < points.size(0); ++i) {
    const double* row = points.data_ptr<double>() + i * points.size(1);
    for (int64_t d = 0; d < points.size(1); ++d)
      text += formatted("{}{:.9g}", d ? "," : "", row[d]);
    text += classes.empty() ? "\n" : "," + classes[i] + "\n";
  }
  write_file(file, text);
}

Chart scatter(const Tensor& points, const PointSpace& space, const std::vector<int64_t>& labels,
              const std::vector<std::string>& names) {
  Chart chart = axes_of(space);
  std::map<int64_t, Chart::Series> by_class;
  for (int64_t i = 0; i < points.size(0); ++i) {
    const int64_t label = labels.empty() ? 0 : labels[i];
    by_class[label].points.push_back(place(points, i));
  }
  const double size = points.size(0) > 1000 ? 1.2 : 2;
  for (auto& [label, series] : by_class) {
    series.dots = true, series.size = size;
    if (label < static_cast<int64_t>(names.size())) series.name = names[label];
    chart.series.push_back(std::move(series));
  }
  return chart;
}

void write_scatter(const std::string& file, const Chart& chart, const ImageText& text) {
  if (std::filesystem::path(file).extension() == ".svg") return write_chart(file, chart);
  write_image(file, draw_chart(chart), text);
}

PointFlow::PointFlow(int64_t steps, PointSpace space)
    : steps_(steps), every_(std::max<int64_t>(1, steps / kFrames)), space_(std::move(space)) {
  require_columns(space_, 2);
}

void PointFlow::operator()(int64_t first, int64_t step, int64_t, const Tensor& x) {
  if ((step % every_ != 0 && step != steps_) || first >= kShown) return;
  places_[step].push_back(to_points(x.narrow(0, 0, std::min(x.size(0), kShown - first)), space_));
}

std::vector<Image> PointFlow::frames() const {
  std::vector<Image> frames;
  std::vector<Chart::Series> traces;  // of one point each
  for (const auto& [step, batches] : places_) {
    const Tensor points = at::cat(batches);
    Chart chart = scatter(points, space_);
    chart.title = formatted("step {} of {}", step, steps_);
    chart.series.push_back({.size = 0.6});  // the traces, one behind the other
    Chart::Series& all = chart.series.back();
    traces.resize(std::min(kTraced, points.size(0)));
    const double none = std::numeric_limits<double>::quiet_NaN();
    for (size_t i = 0; i < traces.size(); ++i) {
      traces[i].points.push_back(place(points, static_cast<int64_t>(i)));
      all.points.insert(all.points.end(), traces[i].points.begin(), traces[i].points.end());
      all.points.emplace_back(none, none);
    }
    frames.push_back(draw_chart(chart));
  }
  if (!frames.empty()) frames.insert(frames.end(), kLastFrames, frames.back());
  return frames;
}

Chart density(Model& model, std::optional<int64_t> label, int64_t side, int64_t steps) {
  const std::optional<PointSpace> space = model.points();
  if (!space || space->columns.size() != 2)
    fail("[points] the density is drawn of two columns: {} has {}", model.name,
         space ? space->columns.size() : 0);
  const at::Device device = model.net->parameters().front().device();
  // Row by row from above, in the network's units.
  const Tensor along = (at::arange(side, at::kDouble) + 0.5) / side * 2 * kReach - kReach;
  const Tensor x = along.repeat({side}), y = (-along).repeat_interleave(side);
  const Tensor places = at::stack({x, y}, 1).to(at::kFloat).view({-1, 2, 1, 1}).to(device);
  ProcessOptions options = model.process_options();
  options.clip_sample = options.thresholding = false;
  const Process process(options);
  Tensor labels;
  if (label) labels = at::full({places.size(0)}, *label, at::kLong).to(device);
  const Denoiser denoise = process.denoiser(
      [&](const Tensor& at, const Tensor& t) { return model.net->forward(at, t, labels); });
  const std::vector<Level> levels =
      make_grid(process,
                {.steps = std::min(steps, options.num_train_timesteps - 1), .spacing = "log_snr"})
          .levels;
  const Tensor log_density =
      ode_log_density(denoise, places, levels, {.divergence = "exact"}).log_density.cpu();
  const Tensor share = (log_density - log_density.max()).exp();  // of the highest
  const int size = static_cast<int>(side);
  Image picture{size, size, 3, std::vector<uint8_t>(3 * share.numel())};
  for (int64_t i = 0; i < share.numel(); ++i) {
    const double dark = std::pow(share.data_ptr<double>()[i], 0.5);  // that valleys show too
    const double ink[] = {.10, .22, .50};
    for (int c = 0; c < 3; ++c)
      picture.pixels[3 * i + c] =
          static_cast<uint8_t>(std::lround(255 * (1 - dark * (1 - ink[c]))));
  }
  Chart chart = axes_of(*space);
  chart.backdrop = std::move(picture);
  return chart;
}

}  // namespace tweedie

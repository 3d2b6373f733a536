// Points that a model draws: their numbers, and pictures of them.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "tweedie/data/dataset.h"
#include "tweedie/pipeline/chart.h"
#include "tweedie/pipeline/model_folder.h"

namespace tweedie {

/// x [N,D,1,1], as networks see it, in the data's own units: [N,D] float64.
at::Tensor to_points(const at::Tensor& x, const PointSpace& space);
/// What a dataset holds, `n` evenly spread (all if there are fewer): [N,D] float64, own units.
at::Tensor points_of(const Dataset& data, int64_t n, std::vector<int64_t>* labels = nullptr);

/// A line of the columns' names, `label` last if there are classes, then a point a line. What is
/// written can be opened as points:FILE.csv.
void write_csv(const std::string& file, const at::Tensor& points, const PointSpace& space,
               const std::vector<std::string>& classes = {});

/// The first two columns as dots, a colour a class. `labels` and `names` may be empty. Throws Error
/// (user) for points of one column.
Chart scatter(const at::Tensor& points, const PointSpace& space,
              const std::vector<int64_t>& labels = {}, const std::vector<std::string>& names = {});
/// Writes by the extension: .svg, or a picture that write_image knows, with `text`.
void write_scatter(const std::string& file, const Chart& chart, const ImageText& text = {});

/// Collects x_t while sampling, to show points flow from noise to data; give it as
/// GenerateCallbacks::way (by std::ref). About 50 frames of the first 2000 points.
class PointFlow {
 public:
  PointFlow(int64_t steps, PointSpace space);
  void operator()(int64_t first, int64_t step, int64_t steps, const at::Tensor& x);
  /// Some points draw the way that they have come; the last frame stays for two seconds at 60 ms a
  /// frame.
  std::vector<Image> frames() const;

 private:
  int64_t steps_, every_;
  PointSpace space_;
  std::map<int64_t, std::vector<at::Tensor>> places_;  // by step, batches in order
};

/// The density that the model's probability-flow ODE gives to the plane, dark where it is high:
/// side x side places of the region that scatter() shows, `steps` levels. `label` is told to a
/// model with classes. Throws Error (user) for a model of other than two columns.
Chart density(Model& model, std::optional<int64_t> label, int64_t side = 56, int64_t steps = 31);

}  // namespace tweedie

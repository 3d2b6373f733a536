// Points: a few numbers each, in place of pixels.
#pragma once
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "tweedie/data/dataset.h"

namespace tweedie {

/// Equal rows of numbers in memory.
struct Points {
  PointSpace space;
  std::vector<double> values;   ///< row by row, in the data's own units
  std::vector<int64_t> labels;  ///< one a row; empty without classes
  std::vector<std::string> classes;
  int64_t size() const { return static_cast<int64_t>(values.size() / space.columns.size()); }
};

/// A point is an example of one place and as many channels as it has numbers.
class PointDataset : public Dataset {
 public:
  /// `name` is the spec with its split.
  PointDataset(std::string name, Points points);
  int64_t size() const override { return points_.size(); }
  Example get(int64_t index) const override;
  std::vector<std::string> classes() const override { return points_.classes; }
  std::pair<int, int> common_size() const override { return {1, 1}; }
  int common_channels() const override { return static_cast<int>(points_.space.columns.size()); }
  std::optional<PointSpace> point_space() const override { return points_.space; }
  std::string describe() const override;

 private:
  std::string name_;
  Points points_;
};

/// What points:mixture draws from: sum_i weights_i N(means_i, variances_i I), of which everything
/// is known in closed form (process/mixture.h).
struct PointMixture {
  std::vector<double> weights;
  std::vector<std::array<double, 2>> means;
  std::vector<double> variances;
};
PointMixture point_mixture();

/// 50,000 train and 10,000 test points in the plane; point i of a split is a function of (name,
/// split, i). moons: two half circles that reach into each other; rings: three of one centre;
/// mixture: point_mixture(). The class is the moon, the ring or the component.
std::vector<std::string> point_names();
DatasetPtr open_named_points(const std::string& name, Split split);

/// A file of numbers between commas, a point a line; the first line may name the columns, and a
/// last column of the name `label` is the class. The share `holdout` of the lines, picked by a hash
/// of what they say, is the @test part. Throws Error (user) that names file, line and what is wrong
/// with it.
DatasetPtr open_csv(const std::filesystem::path& file, Split split, double holdout);

}  // namespace tweedie

// Images with labels, as 8-bit pixels, or points: the same interface over files, folders and
// procedures.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tweedie/core/progress.h"
#include "tweedie/io/image.h"

namespace tweedie {

struct Example {
  Image image;
  int64_t label = -1;              ///< class index; -1 = the dataset has no classes
  std::vector<double> point = {};  ///< in place of an image: numbers in the data's own units
};

/// Where points live. x = (value - center) / scale, column by column, has about the size that the
/// noise has; that is what networks see.
struct PointSpace {
  std::vector<std::string> columns;
  std::vector<double> center, scale;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("columns", self.columns, "their names");
    field("center", self.center, "subtracted from each column");
    field("scale", self.scale, "what it is then divided by");
  }
};

/// A finite, immutable list of examples. get() is thread-safe and deterministic.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual Example get(int64_t index) const = 0;
  /// Class names by index; empty = no classes.
  virtual std::vector<std::string> classes() const { return {}; }
  /// Width and height that all examples share, or {0, 0}; channels that all share, or 0.
  virtual std::pair<int, int> common_size() const = 0;  // (height, width)
  virtual int common_channels() const = 0;
  /// Of points, which are examples of 1x1 and a channel a column; empty = images.
  virtual std::optional<PointSpace> point_space() const { return {}; }
  /// What this is, in one line that names the split: "fashion-mnist@train: 60000 images 28x28x1, 10
  /// classes".
  virtual std::string describe() const = 0;
  /// Files that were passed over, each with its reason.
  virtual std::vector<std::string> skipped() const { return {}; }
  /// What reading changed so far, each with the number of files: "16 bit reduced to 8: 3 files".
  virtual std::vector<std::string> notes() const { return {}; }
  /// Reads what is only read when it is asked for, so that skipped() and notes() are complete.
  virtual void read_all(const ProgressFn&, const CancelToken&) const {}
};
using DatasetPtr = std::shared_ptr<const Dataset>;

enum class Split { kTrain, kTest, kAll };

struct DatasetRequest {
  std::string spec;  ///< "fashion-mnist", "idx:DIR", "cifar10:DIR", "folder:DIR", "shapes[:SIZE]",
                     ///< "points:NAME" or a path, each with an optional @train, @test or @all
  Split split = Split::kTrain;  ///< used when the spec names none
  double holdout = 0.05;  ///< share held out of a folder that has no train/ and test/ of its own
};

/// Opens a dataset. Throws Error (user) that names the spec, the known kinds and what is wrong.
DatasetPtr open_dataset(const DatasetRequest& request);

/// What a training on `request` leaves untouched: the @test part of the same dataset. Null if there
/// is none, or if the spec itself names @test or @all. Throws as open_dataset for files that are
/// there and damaged.
DatasetPtr open_heldout(const DatasetRequest& request);

/// Where Fashion-MNIST's four IDX files lie: $TWEEDIE_FASHION_MNIST, else where Debian's
/// dataset-fashion-mnist puts them.
std::string fashion_mnist_folder();

}  // namespace tweedie

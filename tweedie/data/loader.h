// Batches for training: decoded, cropped, flipped and scaled by worker threads, in an order that is
// a function of (seed, position) alone.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "tweedie/data/dataset.h"

namespace tweedie {

using at::Tensor;

enum class Crop { kCenter, kRandom };

struct LoaderOptions {
  int64_t batch_size = 128;
  int height = 28, width = 28;
  int channels = 1;                       ///< 1 or 3; grey and RGB are converted into each other
  std::optional<PointSpace> points = {};  ///< of a dataset of points, with a channel a column
  bool flip = false;                      ///< horizontal, with probability 1/2
  Crop crop = Crop::kCenter;
  uint64_t seed = 0;    ///< of the order and the augmentation
  bool shuffle = true;  ///< false: 0, 1, 2, ... and a last, shorter batch, once
  int workers = 2;
};

struct Batch {
  Tensor images;  ///< [N,C,H,W] float32 in [-1,1], x = p/127.5 - 1; points [N,D,1,1], scaled
  Tensor labels;  ///< [N] int64, -1 without classes
  int64_t size() const;
};

/// An endless stream of batches if `shuffle` (each epoch is a permutation by (seed, epoch); a batch
/// may cross epochs), else one pass. Batch k is the same whatever the number of workers and
/// wherever the stream started.
class Loader {
 public:
  /// Starts at image number `start` of the stream (resume in mid-epoch).
  Loader(DatasetPtr dataset, LoaderOptions options, int64_t start = 0);
  ~Loader();
  /// The next batch; an undefined `images` after the end of a single pass. Rethrows what a worker
  /// threw.
  Batch next();
  /// Images handed out since image 0 of the stream, `start` included.
  int64_t position() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Resizes (antialiased) so that the image covers height x width, then crops; converts channels.
Image fit_image(const Image& image, int height, int width, int channels, double crop_x = 0.5,
                double crop_y = 0.5);

/// Pixels to [-1,1], [C,H,W] float32: x = p/127.5 - 1 (DDPM s3.3), and back: p =
/// round(clamp(x)*127.5+127.5).
Tensor to_tensor(const Image& image);
Image to_image(const Tensor& chw);

}  // namespace tweedie

// From images to the noise that draws them.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "tweedie/core/progress.h"
#include "tweedie/pipeline/model_folder.h"

namespace tweedie {

struct InvertRequest {
  at::Tensor images;                  ///< [N,C,H,W] in [-1,1], of the model's size
  std::optional<int64_t> steps = {};  ///< absent: as many as sample --sampler ddim takes
  std::optional<std::string> spacing = {};
  /// One an image; empty: the null class of a model with classes.
  std::vector<int64_t> classes = {};
  int64_t iterations = 0;  ///< 0 the plain form; else fixed-point iterations a step
};

/// The noise [N,C,H,W] from which ddim, with the same steps and spacing, without clipping, draws
/// the images again. Throws Error: user for what does not fit the model, interrupted by `cancel`.
at::Tensor invert(Model& model, const InvertRequest& request, const ProgressFn& progress = {},
                  const CancelToken& cancel = {});

/// Pictures as a model sees them: [N,C,H,W], resized and cropped to its size. Throws Error for
/// files that are no pictures and for models of other than 1 or 3 channels.
at::Tensor read_pictures(const std::vector<std::string>& files, const Model& model);

}  // namespace tweedie

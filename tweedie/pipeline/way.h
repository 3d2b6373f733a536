// Keeps pictures of the way from noise to image.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "tweedie/io/image.h"

namespace tweedie {

/// Collects x_t as pictures while sampling; give it as GenerateCallbacks::way (by std::ref).
/// A strip shows the first 8 images, an animation the first 64.
class Way {
 public:
  /// Every `every` steps for the strip (0 = no strip), about 50 frames if `animate`.
  Way(int64_t n, int64_t steps, int64_t every, bool animate);
  bool wanted() const { return every_ > 0 || frame_every_ > 0; }
  void operator()(int64_t first, int64_t step, int64_t steps, const at::Tensor& x);
  /// A row an image, from noise (left) to image (right).
  Image strip() const;
  /// A grid a frame; the last one stays for two seconds at 60 ms a frame.
  std::vector<Image> frames(int columns) const;

 private:
  int64_t n_, steps_, every_, frame_every_;
  std::map<int64_t, std::vector<Image>> pictures_;  // by step, images in order
};

/// Throws Error (user) unless `file` names a kind of animation: .webp or .png.
void require_animation(const std::string& file);

}  // namespace tweedie

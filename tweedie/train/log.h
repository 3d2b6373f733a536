// log.jsonl: one JSON object a line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "tweedie/core/options.h"

namespace tweedie {

/// Keys of a line: step, images, epoch, loss and grad_norm (means since the line before), lr,
/// images_per_second, seconds (of training, over all resumes) and, where it was measured, heldout
/// {all, q1, q2, q3, q4}. Throws Error (system) naming the file when a write fails.
class TrainLog {
 public:
  /// Appends to `file` after cutting what lies beyond `step`: lines of later steps and a torn last
  /// line.
  TrainLog(std::filesystem::path file, int64_t step);
  void write(const Json& line);

 private:
  std::filesystem::path file_;
  std::ofstream out_;
};

}  // namespace tweedie

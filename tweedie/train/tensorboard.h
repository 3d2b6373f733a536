// TensorBoard event files: `tensorboard --logdir FOLDER` shows the curves and pictures.
#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace tweedie {

/// Writes FOLDER/events.out.tfevents.*: records of protobuf Event messages, each with masked
/// CRC-32C sums (TFRecord). Flushed at every call, so that a killed run loses nothing. Throws Error
/// (system) naming the file when a write fails.
class EventWriter {
 public:
  /// Opens a new file. TensorBoard hides events of older files from `first_step` on: a resumed run
  /// draws these steps anew.
  EventWriter(std::filesystem::path folder, int64_t first_step);

  void scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values);
  /// A PNG or JPEG file's bytes with its size in pixels.
  void image(int64_t step, const std::string& tag, const std::string& encoded, int width,
             int height, int channels);

  const std::filesystem::path& file() const { return file_; }

 private:
  void write(const std::string& message);
  std::filesystem::path file_;
  std::ofstream out_;
};

/// CRC-32C (Castagnoli) as TFRecord masks it: rotated right by 15 bits, plus 0xa282ead8.
uint32_t masked_crc32c(const void* bytes, size_t size);

}  // namespace tweedie

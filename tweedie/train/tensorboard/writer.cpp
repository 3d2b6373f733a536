#include <chrono>
#include <cstring>

#include "event.pb.h"
#include "tweedie/core/error.h"
#include "tweedie/train/tensorboard.h"

namespace tweedie {
namespace {

using tensorboard::Event;

Event event_at(int64_t step) {
  Event event;
  event.set_wall_time(
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  event.set_step(step);
  return event;
}

template <class T>
std::string little_endian(T value) {
  std::string out;
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// Not fail_system(): the fmt that this folder sees is not LibTorch's, which the library formats
// with.
[[noreturn]] void fail_to(const char* be_what, const std::filesystem::path& file) {
  throw Error(Error::Kind::kSystem, fmt::format("[train] {}: cannot be {}: {}", file.string(),
                                                be_what, std::strerror(errno)));
}

}  // namespace

uint32_t masked_crc32c(const void* bytes, size_t size) {
  uint32_t crc = ~uint32_t{0};
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (size_t i = 0; i < size; ++i) {
    crc ^= at[i];
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0u);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

EventWriter::EventWriter(std::filesystem::path folder, int64_t first_step) {
  // The names sort by time, which is the order in which TensorBoard reads them; the step keeps two
  // files of one second apart.
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto name =
      fmt::format("events.out.tfevents.{:010}.{:010}.tweedie",
                  std::chrono::duration_cast<std::chrono::seconds>(now).count(), first_step);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  file_ = folder / name;
  out_.open(file_, std::ios::binary | std::ios::app);
  if (!out_) fail_to("created", file_);
  Event version = event_at(first_step);
  version.set_file_version("brain.Event:2");
  write(version.SerializeAsString());
  Event start = event_at(first_step);
  start.mutable_session_log()->set_status(tensorboard::SessionLog::START);
  write(start.SerializeAsString());
}

void EventWriter::scalars(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  Event event = event_at(step);
  for (const auto& [tag, number] : values) {
    auto* value = event.mutable_summary()->add_value();
    value->set_tag(tag);
    value->set_simple_value(static_cast<float>(number));
  }
  write(event.SerializeAsString());
}

void EventWriter::image(int64_t step, const std::string& tag, const std::string& encoded, int width,
                        int height, int channels) {
  Event event = event_at(step);
  auto* value = event.mutable_summary()->add_value();
  value->set_tag(tag);
  value->mutable_image()->set_width(width);
  value->mutable_image()->set_height(height);
  value->mutable_image()->set_colorspace(channels);
  value->mutable_image()->set_encoded_image_string(encoded);
  write(event.SerializeAsString());
}

void EventWriter::write(const std::string& message) {
  const std::string length = little_endian(static_cast<uint64_t>(message.size()));
  out_ << length << little_endian(masked_crc32c(length.data(), length.size())) << message
       << little_endian(masked_crc32c(message.data(), message.size()));
  out_.flush();
  if (!out_) fail_to("written", file_);
}

}  // namespace tweedie

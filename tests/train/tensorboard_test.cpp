#include "tweedie/train/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

namespace tweedie {
namespace {

// RFC 3720 B.4: CRC-32C of known bytes, here with TFRecord's mask undone.
uint32_t unmasked(const std::string& bytes) {
  const uint32_t rotated = masked_crc32c(bytes.data(), bytes.size()) - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

// A reader of the protobuf wire format that knows nothing of the writer's classes.
struct Message {
  std::multimap<int, std::string> bytes;  // wire types 1, 2, 5
  std::multimap<int, uint64_t> numbers;   // wire type 0
  explicit Message(const std::string& text) {
    size_t at = 0;
    const auto varint = [&] {
      uint64_t value = 0;
      for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<unsigned char>(text.at(at++));
        value |= uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < text.size()) {
      const uint64_t key = varint();
      const int field = static_cast<int>(key >> 3), wire = key & 7;
      if (wire == 0) {
        numbers.emplace(field, varint());
        continue;
      }
      const size_t size = wire == 1 ? 8 : wire == 5 ? 4 : varint();
      if (at + size > text.size()) throw std::runtime_error("truncated field");
      bytes.emplace(field, text.substr(at, size));
      at += size;
    }
  }
};

template <class T>
T number(const std::string& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

std::vector<Message> read_records(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  std::vector<Message> out;
  for (size_t at = 0; at < all.size();) {
    const uint64_t size = number<uint64_t>(all.substr(at, 8));
    EXPECT_EQ(number<uint32_t>(all.substr(at + 8, 4)), masked_crc32c(&all[at], 8));
    EXPECT_EQ(number<uint32_t>(all.substr(at + 12 + size, 4)), masked_crc32c(&all[at + 12], size));
    out.emplace_back(all.substr(at + 12, size));
    at += 16 + size;
  }
  return out;
}

}  // namespace

TEST(TensorBoard, ChecksumIsCrc32c) {
  EXPECT_EQ(unmasked(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(unmasked(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(unmasked("123456789"), 0xe3069283u);
}

TEST(TensorBoard, RecordsReadBackAsEvents) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "tweedie_events";
  std::filesystem::remove_all(folder);
  EventWriter writer(folder, 40);
  writer.scalars(300, {{"loss/train", 0.125}, {"lr", 2e-4}});
  writer.image(301, "samples", "PNG bytes", 28, 14, 3);
  const auto records = read_records(writer.file());
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[0].bytes.find(3)->second, "brain.Event:2");
  EXPECT_EQ(records[1].numbers.find(2)->second, 40u);
  EXPECT_EQ(Message(records[1].bytes.find(7)->second).numbers.find(1)->second, 1u);  // START
  EXPECT_EQ(records[2].numbers.find(2)->second, 300u);
  EXPECT_GT(number<double>(records[2].bytes.find(1)->second), 1.7e9);
  const Message summary(records[2].bytes.find(5)->second);
  ASSERT_EQ(summary.bytes.count(1), 2u);
  const Message first(summary.bytes.find(1)->second);
  EXPECT_EQ(first.bytes.find(1)->second, "loss/train");
  EXPECT_EQ(number<float>(first.bytes.find(2)->second), 0.125f);
  const Message value(Message(records[3].bytes.find(5)->second).bytes.find(1)->second);
  const Message image(value.bytes.find(4)->second);
  EXPECT_EQ(image.numbers.find(1)->second, 14u);
  EXPECT_EQ(image.numbers.find(2)->second, 28u);
  EXPECT_EQ(image.numbers.find(3)->second, 3u);
  EXPECT_EQ(image.bytes.find(4)->second, "PNG bytes");
  std::filesystem::remove_all(folder);
}

}  // namespace tweedie

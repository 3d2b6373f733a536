#include <gtest/gtest.h>
#include <webp/demux.h>

#include <memory>

#include "tests/io/pictures.h"
#include "tests/io/temporary.h"
#include "tweedie/io/grid.h"
#include "tweedie/io/image.h"

namespace tweedie {
namespace {

using AnimationTest = InTemporaryFolder;
using GridTest = InTemporaryFolder;

std::vector<Image> frames(int count, int channels) {
  std::vector<Image> out;
  for (int i = 0; i < count; ++i) {
    Image frame{20, 12, channels, {}};
    for (int j = 0; j < 20 * 12 * channels; ++j)
      frame.pixels.push_back(static_cast<uint8_t>(i * 40 + j * (i + 3)));
    out.push_back(frame);
  }
  return out;
}

uint32_t number_at(const std::string& bytes, size_t at, int count = 4) {
  uint32_t value = 0;
  for (int i = 0; i < count; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// The frames of an APNG as PNGs of their own, by PNG third edition 4.9 and 11.3.8.
TEST_F(AnimationTest, AnApngHoldsEveryFrameAndPlaysForEver) {
  for (const int channels : {1, 3}) {
    const std::vector<Image> given = frames(3, channels);
    write_animation(path("a.png"), given, 80);
    const std::string bytes = get(path("a.png"));
    std::string header;
    std::vector<std::string> data;
    uint32_t sequence = 0;
    for (size_t at = 8; at < bytes.size();) {
      const size_t size = number_at(bytes, at);
      const std::string type = bytes.substr(at + 4, 4), body = bytes.substr(at + 8, size);
      EXPECT_EQ(bytes.substr(at, size + 12), test::png_chunk(type, body)) << "checksum of " << type;
      if (type == "IHDR") header = body;
      if (type == "acTL") {
        EXPECT_EQ(body, test::big_endian(3) + test::big_endian(0));
        EXPECT_TRUE(data.empty());
      }
      if (type == "fcTL") {
        EXPECT_EQ(number_at(body, 0), sequence++);
        EXPECT_EQ(body.substr(4, 8), header.substr(0, 8));
        EXPECT_EQ(number_at(body, 20, 2), 80u);
        EXPECT_EQ(number_at(body, 22, 2), 1000u);
        data.emplace_back();
      }
      if (type == "IDAT") data.back() += body;
      if (type == "fdAT") {
        EXPECT_EQ(number_at(body, 0), sequence++);
        data.back() += body.substr(4);
      }
      at += size + 12;
    }
    ASSERT_EQ(data.size(), 3u);
    for (size_t i = 0; i < data.size(); ++i) {
      put("frame.png", "\x89PNG\r\n\x1a\n" + test::png_chunk("IHDR", header) +
                           test::png_chunk("IDAT", data[i]) + test::png_chunk("IEND", ""));
      EXPECT_TRUE(read_image(path("frame.png")).pixels == given[i].pixels);
    }
    EXPECT_TRUE(read_image(path("a.png")).pixels == given[0].pixels);  // where APNG is not known
  }
}

TEST_F(AnimationTest, AnAnimatedWebpHoldsEveryFrameAndPlaysForEver) {
  const std::vector<Image> given = frames(4, 3);
  write_animation(path("a.webp"), given, 80);
  const std::string bytes = get(path("a.webp"));
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, nullptr), WebPAnimDecoderDelete);
  ASSERT_TRUE(decoder);
  WebPAnimInfo info;
  WebPAnimDecoderGetInfo(decoder.get(), &info);
  EXPECT_EQ(info.frame_count, 4u);
  EXPECT_EQ(info.loop_count, 0u);
  for (int i = 0; i < 4; ++i) {
    uint8_t* pixels = nullptr;
    int time = 0;
    ASSERT_TRUE(WebPAnimDecoderGetNext(decoder.get(), &pixels, &time));
    EXPECT_EQ(time, 80 * (i + 1));
    for (size_t p = 0; p < 20 * 12; ++p)
      for (size_t c = 0; c < 3; ++c) ASSERT_EQ(pixels[4 * p + c], given[i].pixels[3 * p + c]);
  }
  ImageNotes notes;
  EXPECT_TRUE(read_image(path("a.webp"), &notes).pixels == given[0].pixels);
  EXPECT_EQ(notes, ImageNotes{"first frame of an animation"});
}

TEST_F(AnimationTest, WrongRequestsAreRefused) {
  std::vector<Image> some = frames(2, 1);
  expect_error([&] { write_animation(path("a.png"), {}, 80); }, "user: ", "without frames");
  expect_error([&] { write_animation(path("a.gif"), some, 80); },
               "user: ", "'.gif'; known: .webp, .png");
  expect_error([&] { write_animation(path("a.jpg"), some, 80); }, "user: ", "'.jpg'");
  expect_error([&] { write_animation(path("a.png"), some, 0); }, "user: ", "0 ms");
  some.push_back(frames(1, 3)[0]);
  expect_error([&] { write_animation(path("a.png"), some, 80); }, "user: ", "expected one size");
  some.back() = {1, 1, 1, {0}};
  expect_error([&] { write_animation(path("a.webp"), some, 80); }, "user: ", "20x12x1 and 1x1x1");
  EXPECT_EQ(entries(), 0u);
}

TEST_F(GridTest, PicturesStandRowByRowOnWhite) {
  const Image a{1, 2, 1, {10, 11}}, b{1, 2, 3, {1, 2, 3, 4, 5, 6}}, c{1, 2, 1, {30, 31}};
  const Image grey = tile({a, c, a}, 2, 1);
  EXPECT_EQ(grey.width, 5);
  EXPECT_EQ(grey.height, 7);
  const std::vector<uint8_t> expected = {255, 255, 255, 255, 255,  //
                                         255, 10,  255, 30,  255,  //
                                         255, 11,  255, 31,  255,  //
                                         255, 255, 255, 255, 255,  //
                                         255, 10,  255, 255, 255,  //
                                         255, 11,  255, 255, 255,  //
                                         255, 255, 255, 255, 255};
  EXPECT_EQ(grey.channels, 1);
  EXPECT_EQ(grey.pixels, expected);
  const Image mixed = tile({a, b}, 2, 0);
  EXPECT_EQ(mixed.channels, 3);
  EXPECT_EQ(mixed.pixels, (std::vector<uint8_t>{10, 10, 10, 1, 2, 3, 11, 11, 11, 4, 5, 6}));
  expect_error([&] { tile({}, 2, 1); }, "user: ");
  expect_error([&] { tile({a, {2, 2, 1, {1, 2, 3, 4}}}, 2, 1); }, "user: ", "expected one size");
}

}  // namespace
}  // namespace tweedie

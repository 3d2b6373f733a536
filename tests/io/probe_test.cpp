#include "tweedie/io/probe.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "temporary.h"
#include "tweedie/io/image.h"

namespace tweedie {
namespace {

using Probe = InTemporaryFolder;

Image picture(int height, int width, int channels) {
  return {width, height, channels, std::vector<uint8_t>(size_t{1} * height * width * channels, 77)};
}

std::string big(uint32_t value, int bytes) {
  std::string text;
  for (int i = bytes; i-- > 0;) text += static_cast<char>(value >> 8 * i);
  return text;
}

std::string little(uint32_t value, int bytes) {
  const std::string text = big(value, bytes);
  return {text.rbegin(), text.rend()};
}

// A TIFF whose only tag is the orientation, in Motorola's or Intel's byte order.
std::string tiff(int orientation, bool motorola) {
  const auto number = motorola ? big : little;
  return (motorola ? "MM" : "II") + number(42, 2) + number(8, 4) + number(1, 2) +
         number(0x0112, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + number(0, 2) +
         number(0, 4);
}

// The picture with EXIF data put where its format has it.
std::string with_exif(const std::string& extension, const std::string& plain,
                      const std::string& exif) {
  if (extension == "jpg") {
    const std::string body = std::string("Exif\0\0", 6) + exif;
    return plain.substr(0, 2) + "\xff\xe1" + big(body.size() + 2, 2) + body + plain.substr(2);
  }
  if (extension == "png") {
    const std::string chunk = "eXIf" + exif;
    const uint32_t checksum = crc32(0, reinterpret_cast<const Bytef*>(chunk.data()), chunk.size());
    return plain.substr(0, 33) + big(exif.size(), 4) + chunk + big(checksum, 4) + plain.substr(33);
  }
  const std::string body = "WEBPVP8X" + little(10, 4) + little(8, 4) + little(24 - 1, 3) +
                           little(8 - 1, 3) + plain.substr(12) + "EXIF" + little(exif.size(), 4) +
                           exif;
  return "RIFF" + little(body.size(), 4) + body;
}

}  // namespace

TEST_F(Probe, SeesWhatReadImageReturns) {
  for (const std::string name : {"a.png", "a.jpg", "a.webp"})
    for (const int channels : {1, 3}) {
      write_image(path(name), picture(5, 13, channels));
      const Image image = read_image(path(name));
      EXPECT_EQ(probe_picture(path(name)),
                (PictureShape{image.height, image.width, image.channels}))
          << name << " " << channels;
      EXPECT_EQ(image.height, 5);
    }
}

TEST_F(Probe, TurnsThePictureAsReadImageDoes) {
  for (const std::string extension : {"jpg", "png", "webp"}) {
    const std::string name = "turned." + extension;
    write_image(path("plain." + extension), picture(8, 24, 3));
    const std::string plain = get(path("plain." + extension));
    for (int orientation = 1; orientation <= 8; ++orientation)
      for (const bool motorola : {false, true}) {
        put(name, with_exif(extension, plain, tiff(orientation, motorola)));
        const Image image = read_image(path(name));
        EXPECT_EQ(probe_picture(path(name)), (PictureShape{image.height, image.width, 3}))
            << name << " " << orientation;
        EXPECT_EQ(image.height, orientation >= 5 ? 24 : 8) << name << " " << orientation;
      }
  }
}

TEST_F(Probe, DamagedExifDoesNotHideAPicture) {
  write_image(path("plain.jpg"), picture(8, 24, 3));
  for (const std::string exif : {"", "MM", "II*\0\xff\xff\xff\xff", "nothing of the kind"}) {
    put("odd.jpg", with_exif("jpg", get(path("plain.jpg")), exif));
    EXPECT_EQ(probe_picture(path("odd.jpg")), (PictureShape{8, 24, 3})) << exif;
  }
}

TEST_F(Probe, NothingElseHasAShape) {
  write_image(path("whole.png"), picture(5, 13, 3));
  write_image(path("whole.jpg"), picture(5, 13, 3));
  put("short.png", get(path("whole.png")).substr(0, 20));
  put("short.jpg", get(path("whole.jpg")).substr(0, 30));
  put("filler.jpg", "\xff\xd8" + std::string(100000, '\xff'));
  put("text.png", "this is text and no picture at all");
  put("empty.png", "");
  put("riff.webp", "RIFF" + little(32, 4) + "WEBPJUNK" + std::string(40, '\0'));
  for (const char* name :
       {"short.png", "short.jpg", "filler.jpg", "text.png", "empty.png", "riff.webp", "none"})
    EXPECT_FALSE(probe_picture(path(name))) << name;
}

}  // namespace tweedie

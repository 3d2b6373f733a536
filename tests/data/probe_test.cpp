#include "tweedie/data/probe.h"

#include <gtest/gtest.h>

#include "temp_folder.h"
#include "tweedie/io/image.h"

namespace tweedie {
namespace {

Image picture(int height, int width, int channels) {
  return {width, height, channels, std::vector<uint8_t>(size_t{1} * height * width * channels, 77)};
}

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// An APP1 segment whose only tag is the orientation, in Motorola's or Intel's byte order.
std::string exif(int orientation, bool motorola) {
  const char o = static_cast<char>(orientation);
  const std::string tiff = motorola
                               ? std::string("MM\0\x2a\0\0\0\x8\0\x1\x1\x12\0\x3\0\0\0\x1\0", 19) +
                                     o + std::string(6, '\0')
                               : std::string("II\x2a\0\x8\0\0\0\x1\0\x12\x1\x3\0\x1\0\0\0", 18) +
                                     o + std::string(7, '\0');
  const std::string body = std::string("Exif\0\0", 6) + tiff;
  return std::string("\xff\xe1\0", 3) + static_cast<char>(body.size() + 2) + body;
}

}  // namespace

TEST(Probe, SeesWhatReadImageReturns) {
  const TempFolder folder;
  for (const std::string name : {"a.png", "a.jpg", "a.webp"})
    for (const int channels : {1, 3}) {
      write_image(folder / name, picture(5, 13, channels));
      const Image image = read_image(folder / name);
      EXPECT_EQ(probe_picture(folder / name),
                (PictureShape{image.height, image.width, image.channels}))
          << name;
      EXPECT_EQ(image.height, 5);
    }
}

TEST(Probe, TheExifOrientationTurnsAJpegJustAsReadImageDoes) {
  const TempFolder folder;
  write_image(folder / "plain.jpg", picture(8, 24, 3));
  const std::string plain = bytes_of(folder / "plain.jpg");
  for (int orientation = 1; orientation <= 8; ++orientation)
    for (const bool motorola : {false, true}) {
      folder.write("turned.jpg",
                   plain.substr(0, 2) + exif(orientation, motorola) + plain.substr(2));
      const Image image = read_image(folder / "turned.jpg");
      EXPECT_EQ(probe_picture(folder / "turned.jpg"), (PictureShape{image.height, image.width, 3}))
          << orientation;
      EXPECT_EQ(image.height, orientation >= 5 ? 24 : 8);
    }
}

TEST(Probe, NothingElseHasAShape) {
  const TempFolder folder;
  write_image(folder / "whole.png", picture(5, 13, 3));
  write_image(folder / "whole.jpg", picture(5, 13, 3));
  folder.write("short.png", bytes_of(folder / "whole.png").substr(0, 20));
  folder.write("short.jpg", bytes_of(folder / "whole.jpg").substr(0, 30));
  folder.write("filler.jpg", "\xff\xd8" + std::string(100000, '\xff'));
  folder.write("text.png", "this is text and no picture at all");
  folder.write("empty.png", "");
  folder.write("riff.webp", std::string("RIFF\x20\0\0\0WEBPJUNK", 16) + std::string(40, '\0'));
  for (const char* name :
       {"short.png", "short.jpg", "filler.jpg", "text.png", "empty.png", "riff.webp", "none"})
    EXPECT_FALSE(probe_picture(folder / name)) << name;
}

}  // namespace tweedie

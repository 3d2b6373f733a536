#include "tweedie/io/image.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "tests/io/pictures.h"
#include "tests/io/temporary.h"

namespace tweedie {
namespace {

using ImageTest = InTemporaryFolder;

// A smooth picture with some texture, all values in use.
Image picture(int width, int height, int channels) {
  Image image{width, height, channels, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      for (int c = 0; c < channels; ++c)
        image.pixels.push_back(
            static_cast<uint8_t>(127.5 + 127.5 * std::sin(0.21 * x * (c + 1) + 0.13 * y)));
  return image;
}

void expect_same(const Image& a, const Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.channels, b.channels);
  EXPECT_TRUE(a.pixels == b.pixels);
}

Image in_rgb(const Image& grey) {
  Image rgb{grey.width, grey.height, 3, {}};
  for (const uint8_t value : grey.pixels) rgb.pixels.insert(rgb.pixels.end(), 3, value);
  return rgb;
}

double mean_difference(const Image& a, const Image& b) {
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(int{a.pixels[i]} - int{b.pixels[i]});
  return sum / static_cast<double>(a.pixels.size());
}

TEST_F(ImageTest, PngAndWebpComeBackExactly) {
  for (const auto& [width, height] : {std::pair{1, 1}, {3, 2}, {28, 28}, {131, 67}}) {
    for (const int channels : {1, 3}) {
      const Image image = picture(width, height, channels);
      ImageNotes notes{"gone"};
      write_image(path("a.png"), image);
      expect_same(read_image(path("a.png"), &notes), image);
      EXPECT_TRUE(notes.empty());
      write_image(path("a.webp"), image);
      expect_same(read_image(path("a.webp"), &notes), channels == 1 ? in_rgb(image) : image);
      EXPECT_TRUE(notes.empty());
    }
  }
  EXPECT_EQ(entries(), 2u);
}

TEST_F(ImageTest, JpegComesBackNearly) {
  for (const int channels : {1, 3}) {
    const Image image = picture(67, 45, channels);
    write_image(path("a.JPG"), image);
    ImageNotes notes;
    const Image read = read_image(path("a.JPG"), &notes);
    EXPECT_EQ(read.width, 67);
    EXPECT_EQ(read.height, 45);
    EXPECT_EQ(read.channels, channels);
    EXPECT_LT(mean_difference(read, image), 3.0);
    EXPECT_TRUE(notes.empty());
  }
}

TEST_F(ImageTest, ThePictureIsToldByItsContentNotItsName) {
  const Image image = picture(9, 5, 3);
  write_image(path("a.png"), image);
  std::filesystem::rename(path("a.png"), path("a.jpg"));
  expect_same(read_image(path("a.jpg")), image);
  EXPECT_TRUE(is_image_file("x/y.PNG"));
  EXPECT_TRUE(is_image_file("y.Jpeg"));
  EXPECT_TRUE(is_image_file("y.webp"));
  EXPECT_FALSE(is_image_file("y.gif"));
  EXPECT_FALSE(is_image_file("png"));
}

TEST_F(ImageTest, TextIsKeptByAPng) {
  const ImageText text = {{"tweedie", "{\"seed\": 7}"},
                          {"Title", "line one\nline two"},
                          {"note", "\u00e4 \u03b5 \u6f22"},
                          {"empty", ""}};
  write_image(path("a.png"), picture(4, 4, 1), text);
  EXPECT_EQ(read_png_text(path("a.png")), text);
  EXPECT_NE(get(path("a.png")).find("tEXttweedie"), std::string::npos);
  EXPECT_NE(get(path("a.png")).find("iTXtnote"), std::string::npos);
  write_image(path("b.png"), picture(4, 4, 1));
  EXPECT_TRUE(read_png_text(path("b.png")).empty());
  for (const std::string& key : {std::string(), std::string(80, 'k'), std::string("a\nb")})
    expect_error(
        [&] {
          write_image(path("c.png"), picture(4, 4, 1), {{key, "x"}});
        },
        "user: ", "c.png");
  // A foreign tEXt is Latin-1.
  std::string png = get(path("b.png"));
  png.insert(png.find("IDAT") - 4, test::png_chunk("tEXt", std::string("Author\0J\xfcrgen", 13)));
  EXPECT_EQ(read_png_text(put("d.png", png)), (ImageText{{"Author", "J\u00fcrgen"}}));
}

TEST_F(ImageTest, SixteenBitsAreRoundedToEight) {
  // 16 bit to 8 is a division by 257.
  const std::string samples("\x00\x00\x00\x80\x00\x81\xff\xff\x80\x80\xff\x7e", 12);
  put("a.png",
      test::png(2, 3, 16, 0, {samples.substr(0, 4), samples.substr(4, 4), samples.substr(8, 4)}));
  ImageNotes notes;
  expect_same(read_image(path("a.png"), &notes), {2, 3, 1, {0, 0, 1, 255, 128, 254}});
  EXPECT_EQ(notes, ImageNotes{"16 bit reduced to 8"});
}

TEST_F(ImageTest, PalettesAndFewBitsAreExpanded) {
  const std::string palette("\x01\x02\x03\x0a\x14\x1e\xc8\xc9\xca\xff\x00\x80", 12);
  put("p.png", test::png(4, 1, 2, 3, {"\x1b"}, {{"PLTE", palette}}));  // 0 1 2 3
  ImageNotes notes;
  expect_same(read_image(path("p.png"), &notes),
              {4, 1, 3, {1, 2, 3, 10, 20, 30, 200, 201, 202, 255, 0, 128}});
  EXPECT_EQ(notes, ImageNotes{"palette expanded"});
  put("b.png", test::png(4, 2, 1, 0, {"\xa0", "\x50"}));
  expect_same(read_image(path("b.png"), &notes), {4, 2, 1, {255, 0, 255, 0, 0, 255, 0, 255}});
  put("q.png", test::png(4, 1, 4, 0, {std::string("\x05\xaf")}));
  expect_same(read_image(path("q.png")), {4, 1, 1, {0, 85, 170, 255}});
  // A palette index beyond the palette is no reason to read beyond it.
  put("bad.png", test::png(4, 1, 2, 3, {"\x1b"}, {{"PLTE", palette.substr(0, 6)}}));
  error_of([&] { read_image(path("bad.png")); });
}

TEST_F(ImageTest, AlphaIsLaidOverWhite) {
  ImageNotes notes;
  put("ga.png", test::png(3, 1, 8, 4, {std::string("\x64\xff\x64\x00\x64\x80", 6)}));
  // 100 at 128/255 over white: (100 * 128 + 255 * 127) / 255 = 177.2
  expect_same(read_image(path("ga.png"), &notes), {3, 1, 1, {100, 255, 177}});
  EXPECT_EQ(notes, ImageNotes{"alpha over white"});
  put("rgba.png", test::png(2, 1, 8, 6, {std::string("\x00\x64\xff\x80\x01\x02\x03\x00", 8)}));
  expect_same(read_image(path("rgba.png"), &notes), {2, 1, 3, {127, 177, 255, 255, 255, 255}});
  // A transparent entry of a palette and a transparent colour.
  put("t.png", test::png(2, 1, 8, 3, {std::string("\x00\x01", 2)},
                         {{"PLTE", "\x0a\x14\x1e\x28\x32\x3c"}, {"tRNS", std::string("\x00", 1)}}));
  expect_same(read_image(path("t.png"), &notes), {2, 1, 3, {255, 255, 255, 40, 50, 60}});
  EXPECT_EQ(notes, (ImageNotes{"palette expanded", "alpha over white"}));
  put("k.png", test::png(2, 1, 8, 0, {"\x07\x08"}, {{"tRNS", std::string("\x00\x07", 2)}}));
  expect_same(read_image(path("k.png"), &notes), {2, 1, 1, {255, 8}});
  // 16 bit and alpha.
  put("w.png", test::png(1, 1, 16, 4, {"\x64\x64\x80\x80"}));
  expect_same(read_image(path("w.png"), &notes), {1, 1, 1, {177}});
  EXPECT_EQ(notes, (ImageNotes{"16 bit reduced to 8", "alpha over white"}));
  put("a.webp", test::webp_rgba(2, 1, {0, 100, 255, 128, 10, 20, 30, 255}));
  expect_same(read_image(path("a.webp"), &notes), {2, 1, 3, {127, 177, 255, 10, 20, 30}});
  EXPECT_EQ(notes, ImageNotes{"alpha over white"});
}

TEST_F(ImageTest, InterlacedPngsAreRead) {
  const Image image = picture(37, 29, 3);
  put("i.png", test::interlaced_png(image));
  expect_same(read_image(path("i.png")), image);
}

// What the eight orientations of "abc/def" look like (EXIF 2.3, 4.6.4): width, then the pixels.
struct Turn {
  int width;
  const char* pixels;
};
constexpr Turn kTurns[] = {{3, "abcdef"}, {3, "cbafed"}, {3, "fedcba"}, {3, "defabc"},
                           {2, "adbecf"}, {2, "daebfc"}, {2, "fcebda"}, {2, "cfbead"}};

TEST_F(ImageTest, ExifRotationIsApplied) {
  const std::string pixels = "abcdef";
  write_image(path("a.png"), {3, 2, 1, {pixels.begin(), pixels.end()}});
  const std::string png = get(path("a.png"));
  write_image(path("a.webp"), {3, 2, 1, {pixels.begin(), pixels.end()}});
  const std::string webp = get(path("a.webp"));
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Turn& turn = kTurns[orientation - 1];
    Image expected{turn.width, 6 / turn.width, 1, {turn.pixels, turn.pixels + 6}};
    for (const bool big : {false, true}) {
      const std::string tiff = test::exif(orientation, big);
      std::string turned = png;
      turned.insert(turned.find("IDAT") - 4, test::png_chunk("eXIf", tiff));
      ImageNotes notes;
      expect_same(read_image(put("t.png", turned), &notes), expected);
      const std::string note = "EXIF rotation " + std::to_string(orientation) + " applied";
      EXPECT_EQ(notes, orientation == 1 ? ImageNotes{} : ImageNotes{note});
      expect_same(read_image(put("t.webp", test::webp_with_exif(webp, tiff)), &notes),
                  in_rgb(expected));
      EXPECT_EQ(notes, orientation == 1 ? ImageNotes{} : ImageNotes{note});
    }
  }
}

TEST_F(ImageTest, ExifRotationOfAJpegIsApplied) {
  Image image{16, 8, 1, std::vector<uint8_t>(16 * 8, 0)};
  for (int y = 0; y < 8; ++y)
    for (int x = 0; x < 8; ++x)
      image.pixels[static_cast<size_t>(y) * 16 + x] = 255;  // left half white
  write_image(path("a.jpg"), image);
  const std::string jpeg = get(path("a.jpg"));
  ImageNotes notes;
  const Image turned =
      read_image(put("b.jpg", test::jpeg_with_exif(jpeg, test::exif(6, true))), &notes);
  EXPECT_EQ(notes, ImageNotes{"EXIF rotation 6 applied"});
  ASSERT_EQ(turned.width, 8);
  ASSERT_EQ(turned.height, 16);
  EXPECT_GT(turned.pixels[3 * 8 + 4], 250);  // a quarter turn clockwise: left is now on top
  EXPECT_LT(turned.pixels[12 * 8 + 4], 5);
  // Damaged EXIF data is no reason to refuse the picture.
  const std::string tiff = test::exif(6, true);
  for (size_t i = 0; i < tiff.size(); ++i) {
    for (const char byte : {'\0', '\xff'}) {
      std::string damaged = tiff;
      damaged[i] = byte;
      EXPECT_EQ(read_image(put("c.jpg", test::jpeg_with_exif(jpeg, damaged))).pixels.size(), 128u);
    }
    EXPECT_EQ(read_image(put("c.jpg", test::jpeg_with_exif(jpeg, tiff.substr(0, i)))).pixels.size(),
              128u);
  }
}

TEST_F(ImageTest, CmykIsConvertedAndSaidSo) {
  // Four-ink picture of one colour, with Adobe's marker: samples are the complements of ink.
  ImageNotes notes;
  const Image image =
      read_image(put("c.jpg", test::cmyk_jpeg(16, 16, {200, 100, 50, 128}, true)), &notes);
  EXPECT_EQ(notes, ImageNotes{"CMYK converted to RGB without a colour profile"});
  ASSERT_EQ(image.channels, 3);
  EXPECT_NEAR(image.pixels[0], 200 * 128 / 255, 2);
  EXPECT_NEAR(image.pixels[1], 100 * 128 / 255, 2);
  EXPECT_NEAR(image.pixels[2], 50 * 128 / 255, 2);
  const Image plain = read_image(put("d.jpg", test::cmyk_jpeg(16, 16, {200, 100, 50, 128}, false)));
  EXPECT_NEAR(plain.pixels[0], 55 * 127 / 255, 2);
}

TEST_F(ImageTest, WhatIsNoPictureIsRefusedByName) {
  expect_error([&] { read_image(path("nowhere.png")); }, "user: ", "nowhere.png", "No such file");
  expect_error([&] { read_image(put("e.png", "")); }, "user: ", "e.png", "empty file");
  expect_error([&] { read_image(put("t.png", "hello")); }, "user: ", "t.png",
               "known: PNG, JPEG, WebP");
  expect_error([&] { read_image(put("g.gif", "GIF89a")); }, "user: ", "g.gif");
  expect_error([&] { read_image(folder_.path()); }, "user: ", "is a folder");
  expect_error([&] { read_png_text(put("t", "hello")); }, "user: ", "not a PNG");
}

TEST_F(ImageTest, EveryTruncationIsRefused) {
  for (const char* name : {"a.png", "a.jpg", "a.webp"}) {
    write_image(path(name), picture(16, 16, 3));
    const std::string whole = get(path(name));
    for (size_t n = 0; n < whole.size(); ++n)
      expect_error([&] { read_image(put("cut", whole.substr(0, n))); },
                   "user: ", path("cut").string());
  }
}

TEST_F(ImageTest, EveryFlippedByteOfAPngIsFound) {
  write_image(path("a.png"), picture(9, 7, 3), {{"key", "value"}});
  const std::string whole = get(path("a.png"));
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int bit : {0, 3, 7}) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ 1 << bit);
      EXPECT_NE(error_of([&] { read_image(put("f.png", flipped)); }), "") << "byte " << i;
    }
  }
}

TEST_F(ImageTest, NoFlippedByteOfAJpegOrWebpCrashes) {
  for (const char* name : {"a.jpg", "a.webp"}) {
    write_image(path(name), picture(16, 16, 3));
    const std::string whole = get(path(name));
    for (size_t i = 0; i < whole.size(); ++i) {
      for (const int bit : {0, 4, 7}) {
        std::string flipped = whole;
        flipped[i] = static_cast<char>(flipped[i] ^ 1 << bit);
        const std::string error = error_of([&] {
          const Image image = read_image(put("f", flipped));
          EXPECT_EQ(image.pixels.size(),
                    static_cast<size_t>(image.width) * image.height * image.channels);
        });
        EXPECT_EQ(error.find('\n'), std::string::npos);
      }
    }
  }
}

TEST_F(ImageTest, SmallFilesThatPromiseHugePicturesAreRefused) {
  const auto claim = [](uint32_t width, uint32_t height) {
    return test::png_claiming(width, height);
  };
  expect_error([&] { read_image(put("a.png", claim(70'000, 1))); }, "user: ", "a.png");
  expect_error([&] { read_image(put("a.png", claim(65'535, 65'535))); }, "a.png",
               "65535x65535 pixels: at most");
  expect_error([&] { read_image(put("a.png", claim(16'000, 16'000))); }, "a.png",
               "cannot hold 16000x16000");
  expect_error([&] { read_image(put("a.png", claim(0, 1))); }, "user: ", "a.png");
  write_image(path("a.jpg"), picture(8, 8, 3));
  std::string jpeg = get(path("a.jpg"));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\x3f\xff\x3f\xff");
  expect_error([&] { read_image(put("b.jpg", jpeg)); }, "b.jpg", "cannot hold 16383x16383");
  jpeg.replace(frame + 5, 4, "\xff\xdc\xff\xdc");
  expect_error([&] { read_image(put("b.jpg", jpeg)); }, "user: ", "b.jpg");
}

TEST_F(ImageTest, AWrongRequestToWriteIsRefused) {
  const Image image = picture(4, 4, 3);
  expect_error([&] { write_image(path("a.bmp"), image); }, "user: ", "'.bmp'; known: .png, .jpg");
  expect_error([&] { write_image(path("a"), image); }, "user: ", "unknown picture type ''");
  expect_error([&] { write_image(path("a.png"), {4, 4, 3, {1, 2, 3}}); }, "user: ", "4x4");
  expect_error(
      [&] {
        write_image(path("a.png"), {4, 4, 2, std::vector<uint8_t>(32)});
      },
      "2 channels");
  expect_error([&] { write_image(path("a.png"), Image{}); }, "0x0");
  expect_error(
      [&] {
        write_image(path("a.webp"), {20'000, 1, 1, std::vector<uint8_t>(20'000)});
      },
      "user: ", "at most 16383");
  expect_error(
      [&] {
        write_image(path("a.jpg"), {70'000, 1, 1, std::vector<uint8_t>(70'000)});
      },
      "user: ", "a.jpg");
  expect_error([&] { write_image(path("no/a.png"), image); }, "system: ", "no/a.png",
               "No such file");
  EXPECT_EQ(entries(), 0u);
}

TEST_F(ImageTest, ADiskThatFillsUpKeepsTheOldPicture) {
  write_image(path("a.png"), picture(4, 4, 3));
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_of([&] { write_image(path("a.png"), picture(200, 200, 3)); });
    _exit(error.starts_with("system: ") && error.find("File too large") != std::string::npos ? 7
                                                                                             : 8);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  expect_same(read_image(path("a.png")), picture(4, 4, 3));
  EXPECT_EQ(entries(), 1u);
}

}  // namespace
}  // namespace tweedie

#include <gtest/gtest.h>
#include <zlib.h>

#include <numeric>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/data/dataset.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

std::string big_endian(uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string idx(std::vector<uint32_t> sizes, const std::string& values, char type = 8) {
  std::string bytes{0, 0, type, static_cast<char>(sizes.size())};
  for (const uint32_t size : sizes) bytes += big_endian(size);
  return bytes + values;
}

// The bytes 0, 1, 2, ...
std::string counting(size_t n) {
  std::string bytes(n, 0);
  std::iota(bytes.begin(), bytes.end(), 0);
  return bytes;
}

void write_gz(const std::filesystem::path& file, const std::string& bytes) {
  gzFile out = gzopen(file.c_str(), "wb");
  gzwrite(out, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(out);
}

// Three train images of 2 x 4 with labels 2 0 1, two test images with labels 4 4.
void write_set(const Scratch& folder) {
  folder.write("train-images-idx3-ubyte", idx({3, 2, 4}, counting(24)));
  folder.write("train-labels-idx1-ubyte", idx({3}, {2, 0, 1}));
  write_gz(folder / "t10k-images-idx3-ubyte.gz", idx({2, 2, 4}, std::string(16, 'x')));
  write_gz(folder / "t10k-labels-idx1-ubyte.gz", idx({2}, {4, 4}));
}

DatasetPtr open(const Scratch& folder, const std::string& split = "@train") {
  return open_dataset({.spec = "idx:" + folder.path() + split});
}

}  // namespace

TEST(Idx, ReadsPlainAndGzippedFiles) {
  const Scratch folder;
  write_set(folder);
  const DatasetPtr train = open(folder), test = open(folder, "@test");
  EXPECT_EQ(train->size(), 3);
  EXPECT_EQ(train->common_size(), std::make_pair(2, 4));
  EXPECT_EQ(train->common_channels(), 1);
  const Example second = train->get(1);
  EXPECT_EQ(second.image.height, 2);
  EXPECT_EQ(second.image.width, 4);
  EXPECT_EQ(second.image.pixels, (std::vector<uint8_t>{8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(second.label, 0);
  EXPECT_EQ(train->get(0).label, 2);
  EXPECT_EQ(test->size(), 2);
  EXPECT_EQ(test->get(1).image.pixels, std::vector<uint8_t>(8, 'x'));
}

TEST(Idx, ClassesAreThoseOfBothSplits) {
  const Scratch folder;
  write_set(folder);
  const std::vector<std::string> expected = {"0", "1", "2", "3", "4"};
  EXPECT_EQ(open(folder)->classes(), expected);
  EXPECT_EQ(open(folder, "@test")->classes(), expected);
}

TEST(Idx, AllIsTrainThenTest) {
  const Scratch folder;
  write_set(folder);
  const DatasetPtr all = open(folder, "@all");
  EXPECT_EQ(all->size(), 5);
  EXPECT_EQ(all->get(2).label, 1);
  EXPECT_EQ(all->get(3).label, 4);
  EXPECT_EQ(all->describe(), "idx:" + folder.path() + "@all: 5 images 2x4x1, 5 classes");
}

TEST(Idx, APlainPathIsRecognisedByItsContent) {
  const Scratch folder;
  write_set(folder);
  EXPECT_EQ(open_dataset({.spec = folder.path() + "@test"})->size(), 2);
}

TEST(Idx, WrongFilesAreRefusedByName) {
  const auto refused = [](const std::string& images, const std::string& labels) {
    const Scratch folder;
    folder.write("train-images-idx3-ubyte", images);
    folder.write("train-labels-idx1-ubyte", labels);
    const std::string message = message_of([&] { open(folder); });
    EXPECT_TRUE(contains(message, "-ubyte")) << message;
    return message;
  };
  const std::string images = idx({3, 2, 4}, counting(24)), labels = idx({3}, {2, 0, 1});
  EXPECT_TRUE(
      contains(refused(images.substr(0, 30), labels), "3 x 2 x 4 values, the file holds 14"));
  EXPECT_TRUE(contains(refused(images + "x", labels), "the file holds 25"));
  EXPECT_TRUE(contains(refused(images.substr(0, 9), labels), "truncated in the header"));
  EXPECT_TRUE(contains(refused("", labels), "not an IDX file"));
  EXPECT_TRUE(contains(refused("PK\3\4 something", labels), "not an IDX file"));
  EXPECT_TRUE(contains(refused(idx({3, 8}, counting(24)), labels), "2 dimensions where 3 belong"));
  EXPECT_TRUE(contains(refused(idx({3, 2, 4}, counting(24), 13), labels), "type 0x0d"));
  EXPECT_TRUE(contains(refused(images, idx({4}, counting(4))), "4 labels for the 3 images"));
  EXPECT_TRUE(contains(refused(idx({0, 2, 4}, ""), idx({0}, "")), "empty"));
  EXPECT_TRUE(contains(refused(idx({3, 0, 4}, ""), labels), "empty"));
  // Sizes whose product is 2^96: it wraps to 0 in 64 bits.
  EXPECT_TRUE(
      contains(refused(idx({1u << 31, 1u << 31, 1u << 31}, ""), labels), "the file holds 0"));
  EXPECT_TRUE(contains(refused(idx({3, 1, 70000}, std::string(210000, 0)), labels), "65535"));
}

TEST(Idx, AMissingFileIsNamed) {
  const Scratch folder;
  write_set(folder);
  std::filesystem::remove(folder / "t10k-labels-idx1-ubyte.gz");
  EXPECT_TRUE(
      contains(message_of([&] { open(folder, "@test"); }), "no t10k-labels-idx1-ubyte[.gz]"));
  EXPECT_EQ(open(folder)->size(), 3);
}

TEST(Idx, SplitsOfDifferentSizesCannotBeJoined) {
  const Scratch folder;
  write_set(folder);
  write_gz(folder / "t10k-images-idx3-ubyte.gz", idx({2, 4, 2}, std::string(16, 'x')));
  EXPECT_TRUE(
      contains(message_of([&] { open(folder, "@all"); }), "those of the other split are 2 x 4"));
}

TEST(Idx, ATruncatedGzipIsRefusedByName) {
  const Scratch folder;
  write_set(folder);
  const auto file = folder / "t10k-images-idx3-ubyte.gz";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 5);
  EXPECT_TRUE(contains(message_of([&] { open(folder, "@test"); }), "t10k-images-idx3-ubyte.gz"));
}

TEST(FashionMnist, HasSeventyThousandImagesAndNamedClasses) {
  if (!std::filesystem::exists(fashion_mnist_folder() + "/train-images-idx3-ubyte.gz"))
    GTEST_SKIP() << "Fashion-MNIST is not installed";
  const DatasetPtr all = open_dataset({.spec = "fashion-mnist@all"});
  EXPECT_EQ(all->describe(), "fashion-mnist@all: 70000 images 28x28x1, 10 classes");
  EXPECT_EQ(all->classes().at(0), "T-shirt/top");
  EXPECT_EQ(all->classes().at(9), "Ankle boot");
  EXPECT_EQ(all->get(0).label,
            9);  // the first train image is an ankle boot, as is the first test image
  EXPECT_EQ(all->get(60000).label, 9);
  std::vector<int> counts(10);
  for (int64_t i = 0; i < all->size(); ++i) ++counts.at(all->get(i).label);
  EXPECT_EQ(counts, std::vector<int>(10, 7000));
}

TEST(FashionMnist, WhereItIsMissingTheMessageSaysWhatToDo) {
  const Scratch empty;
  setenv("TWEEDIE_FASHION_MNIST", empty.path().c_str(), 1);
  const std::string message = message_of([] { open_dataset({.spec = "fashion-mnist"}); });
  unsetenv("TWEEDIE_FASHION_MNIST");
  EXPECT_TRUE(contains(message, "dataset-fashion-mnist")) << message;
  EXPECT_TRUE(contains(message, "TWEEDIE_FASHION_MNIST")) << message;
  EXPECT_TRUE(contains(message, empty.path())) << message;
}

TEST(Idx, WithoutTestFilesNothingIsHeldOutAndADamagedOneIsAnError) {
  const Scratch folder;
  folder.write("train-images-idx3-ubyte", idx({2, 2, 4}, std::string(16, 'x')));
  folder.write("train-labels-idx1-ubyte", idx({2}, {1, 0}));
  EXPECT_EQ(open_dataset({.spec = "idx:" + folder.path()})->size(), 2);
  EXPECT_EQ(open_heldout({.spec = "idx:" + folder.path()}), nullptr);
  folder.write("t10k-images-idx3-ubyte", "cut");
  EXPECT_TRUE(
      contains(message_of([&] { open_heldout({.spec = "idx:" + folder.path()}); }), "t10k"));
}

}  // namespace tweedie

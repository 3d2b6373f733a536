#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/data/dataset.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

// A record whose pixel at (x, y) is red = x, green = y, blue = label.
std::string record(int label) {
  std::string bytes(1, static_cast<char>(label));
  for (int c = 0; c < 3; ++c)
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x) bytes += static_cast<char>(c == 0 ? x : c == 1 ? y : label);
  return bytes;
}

void write_set(const Scratch& folder, const std::string& prefix = "") {
  for (int i = 1; i <= 5; ++i)
    folder.write(prefix + "data_batch_" + std::to_string(i) + ".bin", record(i) + record(0));
  folder.write(prefix + "test_batch.bin", record(9));
}

DatasetPtr open(const Scratch& folder, const std::string& split = "@train") {
  return open_dataset({.spec = "cifar10:" + folder.path() + split});
}

}  // namespace

TEST(Cifar10, ReadsPlanarRecordsAsInterleavedPixels) {
  const Scratch folder;
  write_set(folder);
  const DatasetPtr train = open(folder);
  EXPECT_EQ(train->describe(),
            "cifar10:" + folder.path() + "@train: 10 images 32x32x3, 10 classes");
  const Example fifth = train->get(4);
  EXPECT_EQ(fifth.label, 3);
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x) {
      const uint8_t* p = &fifth.image.pixels[(y * 32 + x) * 3];
      EXPECT_EQ(std::vector<int>(p, p + 3), (std::vector<int>{x, y, 3}));
    }
  EXPECT_EQ(open(folder, "@test")->size(), 1);
  EXPECT_EQ(open(folder, "@all")->size(), 11);
  EXPECT_EQ(open(folder, "@all")->get(10).label, 9);
}

TEST(Cifar10, TheUnpackedArchiveAndAPlainPathAreFound) {
  const Scratch folder;
  write_set(folder, "cifar-10-batches-bin/");
  EXPECT_EQ(open(folder)->size(), 10);
  EXPECT_EQ(open_dataset({.spec = folder.path()})->size(), 10);
}

TEST(Cifar10, ClassNamesComeFromTheMetaFileIfThereIsOne) {
  const Scratch folder;
  write_set(folder);
  EXPECT_EQ(open(folder)->classes().at(9), "truck");
  folder.write("batches.meta.txt", "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nlast\n\n");
  EXPECT_EQ(open(folder)->classes().at(1), "b");
  EXPECT_EQ(open(folder)->classes().at(9), "last");
  folder.write("batches.meta.txt", "a\nb\n");
  EXPECT_TRUE(contains(message_of([&] { open(folder); }), "2 class names, not 10"));
}

TEST(Cifar10, WrongFilesAreRefusedByName) {
  const Scratch folder;
  write_set(folder);
  folder.write("test_batch.bin", record(1).substr(0, 3000));
  EXPECT_TRUE(contains(message_of([&] { open(folder, "@test"); }), "test_batch.bin: 3000 bytes"));
  folder.write("test_batch.bin", "");
  EXPECT_TRUE(contains(message_of([&] { open(folder, "@test"); }), "test_batch.bin: 0 bytes"));
  folder.write("test_batch.bin", record(1) + record(10));
  EXPECT_TRUE(contains(message_of([&] { open(folder, "@test"); }), "label 10 in record 1"));
  std::filesystem::remove(folder / "data_batch_3.bin");
  EXPECT_TRUE(contains(message_of([&] { open(folder); }), "data_batch_3.bin: missing"));
}

TEST(Cifar10, WithoutATestBatchNothingIsHeldOut) {
  const Scratch folder;
  write_set(folder);
  EXPECT_NE(open_heldout({.spec = "cifar10:" + folder.path()}), nullptr);
  std::filesystem::remove(folder / "test_batch.bin");
  EXPECT_EQ(open_heldout({.spec = "cifar10:" + folder.path()}), nullptr);
}

}  // namespace tweedie

#include <gtest/gtest.h>
#include <png.h>

#include <set>
#include <thread>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/image.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

void draw(const Scratch& folder, const std::string& name, int grey, int height = 4, int width = 6) {
  std::filesystem::create_directories(std::filesystem::path(folder / name).parent_path());
  write_image(folder / name,
              {width, height, 1, std::vector<uint8_t>(height * width, static_cast<uint8_t>(grey))});
}

DatasetPtr open(const Scratch& folder, const std::string& split, double holdout = 0.05) {
  return open_dataset({.spec = "folder:" + folder.path() + "@" + split, .holdout = holdout});
}

// The grey levels of all images, sorted.
std::multiset<int> greys(const Dataset& data) {
  std::multiset<int> all;
  for (int64_t i = 0; i < data.size(); ++i) all.insert(data.get(i).image.pixels.at(0));
  return all;
}

}  // namespace

TEST(Folder, TheClassIsTheFirstFolderLevel) {
  const Scratch folder;
  draw(folder, "cats/deep/er/1.png", 10);
  draw(folder, "cats/2.PNG", 20);
  draw(folder, "dogs/3.png", 30);
  folder.write("dogs/readme.txt", "not a picture");
  const DatasetPtr all = open(folder, "all");
  EXPECT_EQ(all->classes(), (std::vector<std::string>{"cats", "dogs"}));
  EXPECT_EQ(all->size(), 3);
  for (int64_t i = 0; i < 3; ++i) {
    const Example example = all->get(i);
    EXPECT_EQ(example.label, example.image.pixels.at(0) == 30 ? 1 : 0);
  }
  EXPECT_TRUE(all->skipped().empty());
}

TEST(Folder, PicturesBesideTheFoldersMeanNoClasses) {
  const Scratch folder;
  draw(folder, "cats/1.png", 10);
  draw(folder, "2.png", 20);
  const DatasetPtr all = open(folder, "all");
  EXPECT_TRUE(all->classes().empty());
  EXPECT_EQ(all->get(0).label, -1);
  EXPECT_EQ(all->get(1).label, -1);
  EXPECT_TRUE(contains(all->describe(), "no classes")) << all->describe();
}

TEST(Folder, TheHoldoutIsDisjointCompleteAndStable) {
  const Scratch folder;
  for (int i = 0; i < 100; ++i) draw(folder, "a" + std::to_string(i) + ".png", i);
  const std::multiset<int> train = greys(*open(folder, "train", 0.2)),
                           test = greys(*open(folder, "test", 0.2));
  EXPECT_EQ(train.size() + test.size(), 100u);
  std::multiset<int> both = train;
  both.insert(test.begin(), test.end());
  EXPECT_EQ(std::set<int>(both.begin(), both.end()).size(), 100u);
  EXPECT_NEAR(test.size(), 20.0, 19);  // five standard deviations
  // A file more does not move the others.
  draw(folder, "b.png", 255);
  std::multiset<int> later = greys(*open(folder, "test", 0.2));
  later.erase(255);
  EXPECT_EQ(later, test);
}

TEST(Folder, AHandfulOfPicturesStillHasBothSplits) {
  const Scratch folder;
  for (int i = 0; i < 3; ++i) draw(folder, std::to_string(i) + ".png", i);
  EXPECT_EQ(open(folder, "test", 0.01)->size(), 1);
  EXPECT_EQ(open(folder, "train", 0.01)->size(), 2);
  EXPECT_EQ(open(folder, "test", 0.999)->size(), 2);
  EXPECT_EQ(open(folder, "train", 0.999)->size(), 1);
  EXPECT_EQ(open(folder, "train", 0)->size(), 3);
  EXPECT_TRUE(contains(message_of([&] { open(folder, "test", 0); }), "data.holdout is 0"));
  EXPECT_TRUE(contains(message_of([&] { open(folder, "test", 1); }), "holdout 1"));
}

TEST(Folder, FoldersTrainAndTestAreTheSplits) {
  const Scratch folder;
  draw(folder, "train/x/1.png", 1);
  draw(folder, "train/y/2.png", 2);
  draw(folder, "test/z/3.png", 3);
  draw(folder, "val/x/4.png", 4);
  const DatasetPtr train = open(folder, "train"), test = open(folder, "test"),
                   all = open(folder, "all");
  EXPECT_EQ(greys(*train), (std::multiset<int>{1, 2}));
  EXPECT_EQ(greys(*test), (std::multiset<int>{3}));
  EXPECT_EQ(greys(*all), (std::multiset<int>{1, 2, 3}));
  EXPECT_EQ(train->classes(), (std::vector<std::string>{"x", "y", "z"}));  // one numbering for both
  EXPECT_EQ(test->get(0).label, 2);
  EXPECT_TRUE(contains(train->skipped().at(0), "val"));
}

TEST(Folder, UnreadableFilesAreSkippedWithTheirReason) {
  const Scratch folder;
  for (int i = 0; i < 5; ++i) draw(folder, std::to_string(i) + ".png", i);
  folder.write("1a.jpg", "this is no JPEG");
  folder.write("2a.png", "");
  std::filesystem::resize_file(folder / "3.png", std::filesystem::file_size(folder / "3.png") - 20);
  const DatasetPtr all = open(folder, "all");
  std::multiset<int> seen = greys(*all);
  EXPECT_EQ(std::set<int>(seen.begin(), seen.end()), (std::set<int>{0, 1, 2, 4}));
  const std::vector<std::string> skipped = all->skipped();
  ASSERT_EQ(skipped.size(), 3u);
  for (const char* name : {"1a.jpg", "2a.png", "3.png"})
    EXPECT_TRUE(std::any_of(skipped.begin(), skipped.end(), [&](const auto& s) {
      return contains(s, name);
    })) << name;
  // Where the order of first reads differs, the examples do not.
  const DatasetPtr again = open(folder, "all");
  for (int64_t i = again->size() - 1; i >= 0; --i)
    EXPECT_EQ(again->get(i).image.pixels, all->get(i).image.pixels);
}

TEST(Folder, NothingReadableIsAnError) {
  const Scratch folder;
  folder.write("a.png", "no");
  folder.write("b.png", "no");
  EXPECT_TRUE(
      contains(message_of([&] { open(folder, "all"); }), "none of the 2 pictures can be read"));
  draw(folder, "c.png", 1);
  std::filesystem::resize_file(folder / "c.png", std::filesystem::file_size(folder / "c.png") - 20);
  EXPECT_TRUE(contains(message_of([&] { open(folder, "all")->get(0); }),
                       "none of the 1 picture can be read"));
  const Scratch empty;
  EXPECT_TRUE(contains(message_of([&] { open(empty, "all"); }), "no PNG, JPEG or WebP"));
}

TEST(Folder, PicturesAreReadFromSeveralThreads) {
  const Scratch folder;
  for (int i = 0; i < 20; ++i) draw(folder, std::to_string(100 + i) + ".png", i);
  folder.write("110a.png", "broken");
  const DatasetPtr all = open(folder, "all");
  LoaderOptions options;
  options.batch_size = 7;
  options.height = 4;
  options.width = 6;
  options.workers = 4;
  Loader loader(all, options);
  for (int k = 0; k < 9; ++k) EXPECT_EQ(loader.next().size(), 7);
  EXPECT_EQ(all->skipped().size(), 1u);
}

TEST(Folder, TheHoldoutDoesNotDependOnHowThePathIsWritten) {
  const Scratch folder;
  for (int i = 0; i < 20; ++i) draw(folder, std::to_string(i) + ".png", i);
  const auto held_out = [](const std::string& path) {
    return greys(*open_dataset({.spec = "folder:" + path + "@test", .holdout = 0.3}));
  };
  const std::string path = folder.path(), name = std::filesystem::path(path).filename().string();
  EXPECT_EQ(held_out(path + "/"), held_out(path));
  EXPECT_EQ(held_out(path + "/../" + name + "/./"), held_out(path));
}

TEST(Folder, TellsWhatAllPicturesShare) {
  const Scratch folder;
  draw(folder, "1.png", 1, 8, 12);
  draw(folder, "2.png", 2, 8, 12);
  EXPECT_EQ(open(folder, "all")->common_size(), std::make_pair(8, 12));
  EXPECT_EQ(open(folder, "all")->common_channels(), 1);
  EXPECT_TRUE(contains(open(folder, "all")->describe(), "2 images 8x12, grey, no classes"));
  write_image(folder / "3.png", {9, 8, 3, std::vector<uint8_t>(8 * 9 * 3, 9)});
  EXPECT_EQ(open(folder, "all")->common_size(), std::make_pair(0, 0));
  EXPECT_EQ(open(folder, "all")->common_channels(), 0);
  EXPECT_TRUE(
      contains(open(folder, "all")->describe(), "3 images of various sizes, grey and colour"));
}

TEST(Folder, SaysWhatReadingChangedOncePerFile) {
  const Scratch folder;
  draw(folder, "plain.png", 1);
  for (const char* name : {"deep1.png", "deep2.png"}) {
    png_image png{};
    png.version = PNG_IMAGE_VERSION;
    png.width = 6, png.height = 4, png.format = PNG_FORMAT_LINEAR_Y;  // 16 bit
    const std::vector<uint16_t> pixels(24, 30000);
    ASSERT_TRUE(
        png_image_write_to_file(&png, (folder / name).c_str(), 0, pixels.data(), 0, nullptr));
  }
  const DatasetPtr all = open(folder, "all");
  EXPECT_TRUE(all->notes().empty());
  for (int epoch = 0; epoch < 2; ++epoch)
    for (int64_t i = 0; i < all->size(); ++i) all->get(i);
  EXPECT_EQ(all->notes(), (std::vector<std::string>{"16 bit reduced to 8: 2 files"}));
}

TEST(Folder, LinksToFoldersAreNamedAndNotFollowed) {
  const Scratch folder;
  draw(folder, "real/1.png", 1);
  std::filesystem::create_directory_symlink(folder / "real", folder / "loop");
  const DatasetPtr all = open(folder, "all");
  EXPECT_EQ(all->size(), 1);
  EXPECT_TRUE(contains(all->skipped().at(0), "loop"));
}

TEST(Folder, ALinkToItselfIsSkipped) {
  const Scratch folder;
  draw(folder, "a.png", 50);
  std::filesystem::create_symlink("loop.png", folder / "loop.png");
  const DatasetPtr data = open(folder, "all");
  EXPECT_EQ(data->size(), 1);
  ASSERT_EQ(data->skipped().size(), 1u);
  EXPECT_TRUE(contains(data->skipped()[0], "loop.png"));
}

TEST(Folder, NothingHeldOutIsNoErrorForATraining) {
  const Scratch folder;
  draw(folder, "one.png", 50);
  EXPECT_EQ(open_heldout({.spec = "folder:" + folder.path()}), nullptr) << "one picture";
  draw(folder, "two.png", 50);
  EXPECT_EQ(open_heldout({.spec = "folder:" + folder.path()})->size(), 1);
  EXPECT_EQ(open_heldout({.spec = "folder:" + folder.path(), .holdout = 0}), nullptr);
  EXPECT_EQ(open_heldout({.spec = "folder:" + folder.path() + "@all"}), nullptr);
  EXPECT_TRUE(contains(message_of([&] { open(folder, "test", 0); }), "data.holdout is 0"));
  const Scratch halves;
  draw(halves, "train/a.png", 50);
  std::filesystem::create_directories(halves / "test");
  EXPECT_EQ(open_heldout({.spec = "folder:" + halves.path()}), nullptr) << "an empty test/";
}

TEST(Folder, AnAtSignInThePathHoldsOutAllTheSame) {
  const Scratch scratch;
  for (int i = 0; i < 5; ++i) draw(scratch, formatted("me@home/{}.png", i), 50);
  const DatasetPtr heldout = open_heldout({.spec = "folder:" + scratch.path() + "/me@home"});
  ASSERT_NE(heldout, nullptr);
  EXPECT_GE(heldout->size(), 1);
}

}  // namespace tweedie

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/scratch.h"
#include "tweedie/data/dataset.h"

namespace tweedie {
namespace {

using testing::contains;
using testing::message_of;
using testing::Scratch;

}  // namespace

TEST(OpenDataset, TheSplitInTheSpecWinsOverTheRequest) {
  EXPECT_EQ(open_dataset({.spec = "shapes", .split = Split::kTest})->size(), 5000);
  EXPECT_EQ(open_dataset({.spec = "shapes@train", .split = Split::kTest})->size(), 50000);
  EXPECT_EQ(open_dataset({.spec = "shapes:16@all"})->size(), 55000);
}

TEST(OpenDataset, UnknownNamesGetTheKnownOnesAndAGuess) {
  const auto refused = [](const std::string& spec) {
    return message_of([&] { open_dataset({.spec = spec}); });
  };
  EXPECT_TRUE(contains(refused("fashon-mnist"), "did you mean fashion-mnist?"));
  EXPECT_TRUE(contains(refused("foldr:photos"), "did you mean folder?"));
  EXPECT_TRUE(contains(refused("celeba"),
                       "known: fashion-mnist, idx:DIR, cifar10:DIR, folder:DIR, shapes[:SIZE]"));
  EXPECT_TRUE(contains(refused(""), "known: fashion-mnist"));
  EXPECT_TRUE(contains(refused("shapes@tset"), "unknown split 'tset'; did you mean test?"));
  EXPECT_TRUE(contains(refused("fashion-mnist@"), "unknown split ''"));
  EXPECT_TRUE(contains(refused("fashion-mnist:x"), "unknown dataset"));
  EXPECT_TRUE(contains(refused("shapes:"), "a size"));
}

TEST(OpenDataset, MissingFoldersAreNamed) {
  const auto refused = [](const std::string& spec) {
    return message_of([&] { open_dataset({.spec = spec}); });
  };
  for (const std::string kind : {"idx", "cifar10", "folder"}) {
    EXPECT_TRUE(contains(refused(kind + ":/nowhere/at all"), "no such folder: /nowhere/at all"));
    EXPECT_TRUE(contains(refused(kind + ":"), "a folder belongs after the colon"));
    EXPECT_TRUE(contains(refused(kind), kind + ":DIR"));
  }
  const Scratch folder;
  folder.write("file", "x");
  EXPECT_TRUE(contains(refused("folder:" + folder.path() + "/file"), "not a folder"));
  EXPECT_TRUE(contains(refused(folder.path() + "/file"), "a file"));
  EXPECT_TRUE(contains(refused(folder.path()), "no IDX files, no CIFAR-10 batches and no PNG"));
}

TEST(OpenDataset, APathWithAnAtSignIsAPath) {
  const Scratch folder;
  folder.write("me@home/cifar-10-batches-bin/test_batch.bin", std::string(3073, '\0'));
  EXPECT_EQ(open_dataset({.spec = folder.path() + "/me@home@test"})->size(), 1);
  EXPECT_EQ(open_dataset({.spec = folder.path() + "/me@home", .split = Split::kTest})->size(), 1);
  EXPECT_EQ(open_dataset({.spec = "cifar10:" + folder.path() + "/me@home", .split = Split::kTest})
                ->size(),
            1);
}

}  // namespace tweedie

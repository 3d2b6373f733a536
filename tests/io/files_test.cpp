#include "tweedie/io/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <chrono>
#include <thread>

#include "tests/io/temporary.h"
#include "tweedie/io/gzip.h"

namespace tweedie {
namespace {

namespace fs = std::filesystem;

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// Runs `body` in a child process and returns its exit status, 128 + signal if killed.
template <class Body>
int in_child(Body&& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class FilesTest : public InTemporaryFolder {};
using GzipTest = FilesTest;
using JsonTest = FilesTest;
using WriteFolderTest = FilesTest;

TEST_F(FilesTest, WhatIsWrittenIsReadBackAndNothingElseIsLeft) {
  const std::string bytes("a\0b\xff\n", 5);
  write_file(path("x"), "older and longer");
  write_file(path("x"), bytes);
  EXPECT_EQ(read_file(path("x")), bytes);
  EXPECT_EQ(entries(), 1u);
  write_file(path("empty"), "");
  EXPECT_EQ(read_file(path("empty")), "");
}

TEST_F(FilesTest, ReadingWhatIsNotAFileNamesIt) {
  expect_error([&] { read_file(path("nowhere")); }, "user: ", "nowhere", "No such file");
  expect_error([&] { read_file(folder_.path()); }, "user: ", folder_.path(), "is a folder");
}

TEST_F(FilesTest, AFullDiskIsNamedAndLeavesTheOldFileAlone) {
  expect_error([&] { write_file("/dev/full", "x"); }, "system: ", "/dev/full", "No space left");
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  put("kept", "old");
  // A limit on file sizes stands for a disk that fills up midway.
  const int result = in_child([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_of([&] { write_file(path("kept"), std::string(5000, 'n')); });
    return error == "system: " + path("kept").string() + ": cannot write: File too large" ? 7 : 8;
  });
  EXPECT_EQ(result, 7);
  EXPECT_EQ(get(path("kept")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FilesTest, WritingWhereThereIsNoFolderOrAFolderInTheWayFails) {
  expect_error([&] { write_file(path("no/such/file"), "x"); }, "system: ", "no/such/file",
               "No such file");
  fs::create_directory(path("d"));
  expect_error([&] { write_file(path("d"), "x"); }, "system: ", "Is a directory");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FilesTest, ALinkIsFollowedAndStays) {
  put("real", "old");
  fs::create_symlink("real", path("link"));
  write_file(path("link"), "new");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(get(path("real")), "new");
}

TEST_F(FilesTest, AFileNameOfFullLengthCanBeWritten) {
  const std::string name(255, 'n');
  write_file(path(name), "x");
  EXPECT_EQ(get(path(name)), "x");
}

TEST_F(FilesTest, RequireWritableMakesTheFolderAndRefusesWhatCannotBeOne) {
  require_writable(path("a/b/c"));
  EXPECT_TRUE(fs::is_directory(path("a/b/c")));
  EXPECT_TRUE(fs::is_empty(path("a/b/c")));
  put("file", "");
  expect_error([&] { require_writable(path("file")); }, "user: ", "file");
  expect_error([&] { require_writable(path("file/below")); }, "user: ", "file/below");
  expect_error([&] { require_writable("/proc/nowhere"); }, "user: ", "/proc/nowhere");
  expect_error([&] { require_writable("/proc"); }, "user: ", "/proc");
}

TEST_F(GzipTest, MembersAreUnpackedOneAfterTheOther) {
  std::string text;
  for (int64_t i = 0; i < 400'000; ++i) text += std::to_string(i * 7919);
  EXPECT_EQ(read_file(put("a.gz", gzip(text))), text);
  EXPECT_EQ(read_file(put("b.gz", gzip("one") + gzip("") + gzip("two"))), "onetwo");
}

TEST_F(GzipTest, EveryTruncationAndEveryFlippedByteIsRefusedOrHarmless) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += std::to_string(i * i);
  const std::string packed = gzip(text);
  for (size_t n = 2; n < packed.size(); ++n)
    expect_error([&] { gunzip(std::string_view(packed).substr(0, n), "f"); }, "user: f: truncated");
  for (size_t i = 0; i < packed.size(); ++i) {
    std::string flipped = packed;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x10);
    std::string out;
    const std::string error = error_of([&] { out = gunzip(flipped, "f"); });
    // Header bytes 4-9 (time, flags of the packer, system) do not bear on the content.
    EXPECT_TRUE(!error.empty() || (out == text && i >= 4 && i < 10)) << "byte " << i;
  }
}

TEST_F(GzipTest, RubbishBehindAndBombsAreRefused) {
  expect_error([&] { read_file(put("r.gz", gzip("x") + "rubbish")); }, "r.gz",
               "7 bytes of rubbish");
  expect_error([&] { gunzip(gzip(std::string(100'000, 'a')), "bomb.gz", 5000); },
               "bomb.gz: unpacks to more than 5000 bytes");
}

TEST_F(JsonTest, OrderAndContentSurvive) {
  const Json json = {{"z", 1}, {"a", {1.5, nullptr, "\u00e4"}}, {"m", {{"x", true}}}};
  write_json(path("j"), json);
  EXPECT_EQ(read_json(path("j")), json);
  const std::string text = get(path("j"));
  EXPECT_LT(text.find("\"z\""), text.find("\"a\""));
  EXPECT_EQ(text.substr(text.size() - 2), "}\n");
}

TEST_F(JsonTest, MistakesAreReportedWithTheirLine) {
  const auto expect_line = [&](const std::string& text, int line, const std::string& word) {
    const fs::path file = put("c.json", text);
    expect_error([&] { read_json(file); },
                 "user: " + file.string() + ":" + std::to_string(line) + ": ", word);
  };
  expect_line("{\n \"a\": 1,\n \"b\": }\n", 3, "syntax error");
  expect_line("{\n \"a\": 1,\n \"b\": 2,\n \"a\": 3\n}", 4, "'a' twice");
  expect_line("{\"x\": {\"a\": 1}, \"y\": {\"a\": 1,\n\"a\": 1}}", 2, "'a' twice");
  expect_line("", 1, "");
  expect_line("{} {}", 1, "");
  expect_line("{\"a\": 1e999}", 1, "");
  expect_line("{\"a\": \"\xff\"}", 1, "");
  expect_line(std::string("{\n}\0", 4), 2, "NUL");
  expect_line(std::string(5'000'000, '['), 1, "nested deeper than 200");
  std::string many = "{\"k\": 0";
  for (int i = 0; i < 20'000; ++i) many += ",\"" + std::to_string(i) + "\":0";
  expect_line(many + "}", 1, "more than 20000 keys");
}

TEST_F(JsonTest, TheSameKeyInNeighbouringObjectsIsNoDuplicate) {
  const Json json = read_json(put("c.json", R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})"));
  EXPECT_EQ(json["b"][1]["a"], 2);
}

TEST_F(WriteFolderTest, ANewFolderAppearsWholeAndReplacesTheOld) {
  const auto fill = [](const std::string& text) {
    return [=](const fs::path& folder) {
      fs::create_directory(folder / "sub");
      std::ofstream(folder / "sub" / text) << text;
    };
  };
  write_folder(path("m/"), fill("one"));
  EXPECT_EQ(get(path("m/sub/one")), "one");
  write_folder(path("m"), fill("two"));
  EXPECT_EQ(get(path("m/sub/two")), "two");
  EXPECT_FALSE(fs::exists(path("m/sub/one")));
  EXPECT_EQ(entries(), 1u);
  write_folder(path("deep/er/m"), fill("three"));
  EXPECT_EQ(get(path("deep/er/m/sub/three")), "three");
}

TEST_F(WriteFolderTest, AFailureWhileFillingLeavesTheOldFolder) {
  write_folder(path("m"), [](const fs::path& f) { std::ofstream(f / "a") << "old"; });
  expect_error(
      [&] {
        write_folder(path("m"), [](const fs::path& f) {
          std::ofstream(f / "a") << "new";
          write_file("/dev/full", "x");
        });
      },
      "system: ", "No space left");
  EXPECT_EQ(get(path("m/a")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(WriteFolderTest, AFileInTheWayIsNotTouched) {
  put("m", "precious");
  expect_error([&] { write_folder(path("m"), [](const fs::path&) {}); }, "system: ", "in the way");
  EXPECT_EQ(get(path("m")), "precious");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(WriteFolderTest, AKillAtAnyMomentLeavesTheOldOrTheNewFolderWhole) {
  const auto write = [&](int number) {
    write_folder(path("m"), [=](const fs::path& f) {
      for (const char* name : {"a", "b", "c"}) write_file(f / name, std::to_string(number));
    });
  };
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 4; ++i) write(0);
  const auto pace = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);  // of four folders
  int last = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t pid = fork();
    if (pid == 0)
      for (int i = last + 1;; ++i) write(i);
    std::this_thread::sleep_for(pace * round / 40);
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    const std::string a = get(path("m/a"));
    ASSERT_EQ(a, get(path("m/b")));
    ASSERT_EQ(a, get(path("m/c")));
    ASSERT_GE(std::stoi(a), last);
    last = std::stoi(a);
  }
  EXPECT_GT(last, 0);
  write(last + 1);  // sweeps up after the killed
  EXPECT_EQ(entries(), 1u);
}

}  // namespace
TEST_F(WriteFolderTest, WhatAnEarlierProcessOfThisNumberLeftIsNotTakenOver) {
  for (int i = 0; i < 3; ++i)
    fs::create_directories(path(formatted(".new.{}-00000000-{}.tmp/junk", ::getpid(), i)));
  write_folder(path("new"), [](const fs::path& to) { write_file(to / "a", "1"); });
  EXPECT_EQ(entries(), 1u);
  EXPECT_FALSE(fs::exists(path("new") / "junk"));
}

}  // namespace tweedie

#include "tweedie/io/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/io/temporary.h"

namespace tweedie {
namespace {

std::string with_length(const std::string& header, const std::string& data = "") {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> 8 * i);
  return bytes + header + data;
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

class SafetensorsTest : public InTemporaryFolder {
 protected:
  void refuse(const std::string& bytes, const std::string& word) {
    const auto file = put("hostile.safetensors", bytes);
    expect_error([&] { read_safetensors(file); }, "user: " + file.string() + ":", word);
  }
  TensorMap accept(const std::string& bytes) {
    return read_safetensors(put("fine.safetensors", bytes));
  }
};

TEST_F(SafetensorsTest, EveryTypeAndShapeSurvivesBitForBit) {
  TensorMap tensors;
  for (const at::ScalarType type :
       {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong, at::kHalf, at::kBFloat16,
        at::kFloat, at::kDouble, at::kComplexFloat, at::kUInt16, at::kUInt32, at::kUInt64,
        at::kFloat8_e5m2, at::kFloat8_e4m3fn, at::kFloat8_e5m2fnuz, at::kFloat8_e4m3fnuz,
        at::kFloat8_e8m0fnu}) {
    const Tensor values = at::arange(6).reshape({2, 3});
    const Tensor tensor = type == at::kBool ? values.gt(2) : values.to(type);
    tensors[std::string("t.") + c10::toString(type)] = tensor;
  }
  tensors["scalar"] = at::scalar_tensor(3.5);
  tensors["none"] = at::empty({2, 0, 3});
  tensors["turned"] = at::arange(12).reshape({3, 4}).t();
  tensors["part"] = at::arange(12.f).slice(0, 3, 9, 2);
  tensors["channels last"] = at::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  tensors["\u00e4 \"quoted\"\n"] = at::ones({1});
  write_safetensors(path("t"), tensors, {{"format", "pt"}, {"note", "\u00fc"}});
  std::map<std::string, std::string> metadata{{"gone", "x"}};
  const TensorMap read = read_safetensors(path("t"), &metadata);
  EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"format", "pt"}, {"note", "\u00fc"}}));
  ASSERT_EQ(read.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor& other = read.at(name);
    ASSERT_EQ(other.scalar_type(), tensor.scalar_type()) << name;
    ASSERT_EQ(other.sizes(), tensor.sizes()) << name;
    if (tensor.numel() == 0) continue;
    const Tensor plain = tensor.contiguous();
    EXPECT_EQ(std::memcmp(plain.const_data_ptr(), other.const_data_ptr(), plain.nbytes()), 0)
        << name;
  }
}

TEST_F(SafetensorsTest, TheHeaderIsWrittenAsTheReferenceWritesIt) {
  write_safetensors(path("t"), {{"b", at::ones({2})},
                                {"a", at::ones({1})},
                                {"z", at::ones({1}, at::kLong)},
                                {"u", at::ones({3}, at::kByte)}});
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("z":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},)"
                             R"("u":{"dtype":"U8","shape":[3],"data_offsets":[20,23]}})";
  const std::string bytes = get(path("t"));
  EXPECT_EQ(bytes.substr(8, header.size()), header);
  const size_t length = static_cast<uint8_t>(bytes[0]) + 256 * static_cast<uint8_t>(bytes[1]);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_EQ(bytes.substr(8 + header.size(), length - header.size()),
            std::string(length - header.size(), ' '));
  EXPECT_EQ(bytes.size(), 8 + length + 23);
}

TEST_F(SafetensorsTest, TensorsOutliveTheFileAndWritingIntoThemDoesNotReachIt) {
  write_safetensors(path("t"), {{"a", at::arange(1000.f)}});
  const std::string before = get(path("t"));
  Tensor a;
  {
    a = read_safetensors(path("t")).at("a");
    a.mul_(2);
    EXPECT_EQ(get(path("t")), before);
    std::filesystem::remove(path("t"));
  }
  EXPECT_TRUE(a.equal(at::arange(1000.f) * 2));
}

TEST_F(SafetensorsTest, MisalignedDataAreCopiedIntoPlace) {
  const float values[] = {1.5f, -2.f};
  const std::string data(reinterpret_cast<const char*>(values), 8);
  std::string header = "{" + entry("a", "F32", "[2]", "[0,8]") + "}";
  for (int pad = 0; pad < 8; ++pad, header += ' ') {
    const Tensor a = accept(with_length(header, data)).at("a");
    EXPECT_TRUE(a.equal(at::tensor({1.5f, -2.f})));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a.const_data_ptr()) % 4, 0u);
  }
}

TEST_F(SafetensorsTest, WhatTheReferenceAcceptsIsAccepted) {
  EXPECT_TRUE(accept(with_length("{}")).empty());
  EXPECT_TRUE(accept(with_length(" \t\n{} \r\n\t ")).empty());
  EXPECT_TRUE(accept(with_length("{\"__metadata__\":{}}")).empty());
  const std::string spare =
      R"({"a":{"dtype":"U8","extra":[1,{"b":2}],"shape":[],"data_offsets":[0,1]}})";
  EXPECT_EQ(accept(with_length(spare, "\x05")).at("a").item<int>(), 5);
  const std::string zero =
      "{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("z", "F32", "[0,7]", "[1,1]") + "," +
      entry("b", "U8", "[1]", "[1,2]") + "," + entry("y", "F32", "[0]", "[2,2]") + "}";
  const TensorMap read = accept(with_length(zero, "\x01\x02"));
  EXPECT_EQ(read.at("z").sizes(), (at::IntArrayRef{0, 7}));
  EXPECT_EQ(read.at("b").item<int>(), 2);
}

TEST_F(SafetensorsTest, FilesThatAreNoSafetensorsAreRefused) {
  refuse("", "too short");
  refuse("1234567", "too short");
  refuse(with_length(""), "not a JSON object");
  refuse(with_length("   "), "not a JSON object");
  refuse(with_length("[]"), "not a JSON object");
  refuse(with_length("\xef\xbb\xbf{}"), "not a JSON object");
  refuse(std::string(8, '\xff') + "{}", "18446744073709551615");
  refuse(std::string("\x01\xe1\xf5\x05\0\0\0\0", 8) + "{}", "100000001");
  refuse(std::string("\x03\0\0\0\0\0\0\0", 8) + "{}", "truncated");
  expect_error([&] { read_safetensors(path("nowhere")); }, "user: ", "nowhere", "No such file");
  expect_error([&] { read_safetensors(folder_.path()); }, "user: ", "is a folder");
  expect_error([&] { read_safetensors("/dev/null"); }, "user: ", "not a regular file");
}

TEST_F(SafetensorsTest, HostileTextIsRefused) {
  const std::string a = entry("a", "U8", "[1]", "[0,1]");
  refuse(with_length("{" + a), ":1: ");
  refuse(with_length("{" + a + ",}", "x"), ":1: ");
  refuse(with_length("{}x"), ":1: ");
  refuse(with_length("{}{}"), ":1: ");
  refuse(with_length(std::string("{}\0\0\0\0\0\0", 8)), "NUL");
  refuse(with_length("{\"\xff\":{}}"), ":1: ");
  refuse(with_length("{\"\xed\xa0\x80\":{}}"), ":1: ");
  refuse(with_length("{" + a + "," + a + "}", "x"), "'a' twice");
  refuse(with_length(R"({"__metadata__":{},"__metadata__":{}})"), "twice");
  refuse(with_length(R"({"__metadata__":{"k":"1","k":"2"}})"), "'k' twice");
  refuse(with_length(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"),
         "'dtype' twice");
  refuse(with_length(R"({"__metadata__":[]})"), "not an object");
  refuse(with_length(R"({"__metadata__":{"k":1}})"), "not a string");
  refuse(with_length("{\"a\":" + std::string(3'000'000, '[')), "nested deeper");
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100'000; ++i) deep += "{\"b\":";
  refuse(with_length(deep), "nested deeper");
}

TEST_F(SafetensorsTest, HostileEntriesAreRefused) {
  const auto one = [&](const std::string& text, const std::string& word,
                       const std::string& data = "12345678") {
    refuse(with_length("{" + text + "}", data), word);
  };
  one("\"a\":1", "not an object");
  one("\"a\":{}", "has no dtype");
  one(R"("a":{"dtype":"U8","shape":[8]})", "has no data_offsets");
  one(R"("a":{"dtype":"U8","data_offsets":[0,8]})", "has no shape");
  one(R"("a":{"dtype":5,"shape":[8],"data_offsets":[0,8]})", "dtype is not a string");
  one(entry("a", "F33", "[2]", "[0,8]"), "unknown dtype 'F33'; known: BOOL, U8");
  one(entry("a", "F6_E2M3", "[4]", "[0,3]"), "unknown dtype 'F6_E2M3'");
  one(entry("a", "f32", "[2]", "[0,8]"), "unknown dtype 'f32'");
  one(entry("a", "F32", "2", "[0,8]"), "shape is not a list");
  one(entry("a", "F32", "[-2]", "[0,8]"), "'-2'");
  one(entry("a", "F32", "[2.0]", "[0,8]"), "'2.0'");
  one(entry("a", "F32", "[\"2\"]", "[0,8]"), "not a whole number");
  one(entry("a", "F32", "[null]", "[0,8]"), "'null'");
  one(entry("a", "F32", "[18446744073709551615]", "[0,8]"), "not a whole number");
  one(entry("a", "F32", "[18446744073709551618]", "[0,8]"), "not a whole number");
  one(entry("a", "F32", "[4294967296,4294967296]", "[0,8]"), "overflows");
  one(entry("a", "F32", "[4611686018427387904]", "[0,8]"), "overflows");
  one(entry("a", "F32", "[4611686018427387904,4611686018427387904,0]", "[0,0]"), "overflows");
  one(entry("a", "F32", "[3]", "[0,8]"), "needs 12 bytes");
  one(entry("a", "F32", "[1]", "[0,8]"), "needs 4 bytes");
  one(entry("a", "F32", "[]", "[0,8]"), "needs 4 bytes");
  one(entry("a", "F32", "[0]", "[0,8]"), "needs 0 bytes");
  one(entry("a", "F32", "[2]", "0"), "not a pair");
  one(entry("a", "F32", "[2]", "[0]"), "not a pair");
  one(entry("a", "F32", "[2]", "[0,8,8]"), "not a pair");
  one(entry("a", "F32", "[2]", "[8,0]"), "not within the 8 bytes");
  one(entry("a", "F32", "[2]", "[-8,0]"), "'-8'");
  one(entry("a", "F32", "[2]", "[8,16]"), "truncated file?");
  one(entry("a", "F32", "[2]", "[18446744073709551608,0]"), "not a whole number");
  one(entry("a", "F32", "[2]", "[9223372036854775800,9223372036854775807]"), "not within");
  one(entry("a", "BOOL", "[8]", "[0,8]"), "neither 0 nor 1");
  std::string dims = "[1";
  for (int i = 0; i < 64; ++i) dims += ",1";
  one(entry("a", "U8", dims + "]", "[0,1]"), "65 dimensions");
  // A hostile name does not break the message's one line.
  one(entry("a\\nb\\u0007", "F33", "[2]", "[0,8]"), "'a\\nb\\u0007'");
}

TEST_F(SafetensorsTest, EveryByteOfTheDataBelongsToOneTensor) {
  const auto two = [&](const std::string& a, const std::string& b, const std::string& word) {
    refuse(with_length("{" + entry("a", "U8", "[4]", a) + "," + entry("b", "U8", "[4]", b) + "}",
                       "12345678"),
           word);
  };
  two("[0,4]", "[0,4]", "overlaps");
  two("[0,4]", "[3,7]", "overlaps");
  two("[4,8]", "[2,6]", "unused");
  refuse(with_length("{" + entry("a", "U8", "[4]", "[4,8]") + "}", "12345678"),
         "4 unused bytes before");
  refuse(with_length("{" + entry("a", "U8", "[4]", "[0,4]") + "}", "12345678"),
         "4 unused bytes after");
  refuse(with_length("{}", "1"), "1 unused bytes after");
  refuse(with_length(
             "{" + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[3,5]") + "}",
             "12345"),
         "1 unused bytes before tensor 'b'");
  refuse(with_length(
             "{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("z", "U8", "[0]", "[2,2]") + "}",
             "1234"),
         "overlaps");
}

TEST_F(SafetensorsTest, NoFlippedByteAndNoTruncationCrashes) {
  write_safetensors(path("t"), {{"a", at::arange(4.f)}, {"b", at::ones({3}, at::kBool)}});
  const std::string whole = get(path("t"));
  for (size_t n = 0; n < whole.size(); ++n)
    EXPECT_NE(error_of([&] { accept(whole.substr(0, n)); }), "") << n;
  int refused = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int bit : {0, 1, 5, 7}) {
      std::string flipped = whole;
      flipped[i] = static_cast<char>(flipped[i] ^ 1 << bit);
      const std::string error = error_of([&] {
        for (const auto& [name, tensor] : accept(flipped)) tensor.to(at::kFloat).sum();
      });
      EXPECT_EQ(error.find('\n'), std::string::npos);
      refused += !error.empty();
    }
  }
  EXPECT_GT(refused, 100);
}

TEST_F(SafetensorsTest, AnObjectOfVeryManyTensorsIsReadInTime) {
  std::string header = "{";
  for (int i = 0; i < 100'000; ++i)
    header += (i ? "," : "") + entry("t" + std::to_string(i), "U8", "[0]", "[0,0]");
  EXPECT_EQ(accept(with_length(header + "}")).size(), 100'000u);
}

TEST_F(SafetensorsTest, WhatCannotBeSavedIsNamedAndADiskThatFillsUpKeepsTheOldFile) {
  expect_error([&] { write_safetensors(path("t"), {{"odd", Tensor()}}); }, "'odd'", "undefined");
  expect_error(
      [&] {
        write_safetensors(path("t"), {{"c", at::ones({1}, at::kComplexDouble)}});
      },
      "'c'", "ComplexDouble");
  expect_error(
      [&] {
        write_safetensors(path("t"), {{"s", at::ones({2, 2}).to_sparse()}});
      },
      "'s'", "dense");
  expect_error(
      [&] {
        write_safetensors(path("t"), {{"__metadata__", at::ones({1})}});
      },
      "__metadata__");
  expect_error([&] { write_safetensors(path("t"), {{"\xff", at::ones({1})}}); }, "not UTF-8");
  expect_error(
      [&] {
        write_safetensors("/dev/full", {{"a", at::ones({1})}});
      },
      "system: ", "/dev/full", "No space left");
  EXPECT_EQ(entries(), 0u);
  write_safetensors(path("t"), {{"a", at::ones({1})}});
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_of([&] {
      write_safetensors(path("t"), {{"a", at::zeros({9000})}});
    });
    _exit(error.find("File too large") != std::string::npos ? 7 : 8);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(read_safetensors(path("t")).at("a").item<float>(), 1.f);
  EXPECT_EQ(entries(), 1u);
}

}  // namespace
}  // namespace tweedie

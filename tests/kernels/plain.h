// For plain_*_test.cpp: the kernels on plain pointers against their definitions in float64. Those
// need no LibTorch, so that they also run on instruction sets that the machine has not
// (tests/kernels/on_arm). Every array ends where readable memory does: a kernel that touches what
// lies beyond it crashes.
#pragma once
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <functional>
#include <random>
#include <utility>
#include <vector>

namespace tweedie::kernels::plain {

using Numbers = std::vector<double>;

// Floats in front of a page that nobody may touch.
class Array {
 public:
  explicit Array(int64_t size) : size_(size) {
    const int64_t page = sysconf(_SC_PAGESIZE), used = (size * 4 + page - 1) / page * page;
    mapped_ = used + page;
    memory_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED || mprotect(memory_ + used, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<float*>(memory_ + used) - size;
  }
  Array(Array&& other) noexcept
      : size_(other.size_),
        mapped_(other.mapped_),
        memory_(std::exchange(other.memory_, nullptr)),
        data_(other.data_) {}
  ~Array() {
    if (memory_) munmap(memory_, mapped_);
  }

  float* data() { return data_; }
  const float* data() const { return data_; }
  int64_t size() const { return size_; }
  Numbers numbers() const { return {data_, data_ + size_}; }

 private:
  int64_t size_, mapped_;
  char* memory_;
  float* data_;
};

inline Array noise(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Array out(size);
  for (int64_t i = 0; i < size; ++i) out.data()[i] = normal(random);
  return out;
}

// Backwards and one by one, so that nothing is carried from a part to the next.
inline void in_parts(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  for (int64_t i = count; i-- > 0;) work(i, i + 1);
}

// |a - b| / |b|.
inline void expect_close(const Array& a, const Numbers& b, double tolerance, const char* what) {
  ASSERT_EQ(a.size(), static_cast<int64_t>(b.size())) << what;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i)
    difference += std::pow(a.data()[i] - b[i], 2), norm += b[i] * b[i];
  EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(norm)) << what;
}

// The gradient of f, a sum over its inputs, by central differences.
inline Numbers gradient(const std::function<double(const Numbers&)>& f, Numbers at) {
  constexpr double kStep = 1e-4;
  Numbers out;
  for (double& x : at) {
    const double middle = x;
    x = middle + kStep;
    const double above = f(at);
    x = middle - kStep;
    out.push_back((above - f(at)) / (2 * kStep));
    x = middle;
  }
  return out;
}

inline double dot(const Numbers& a, const Array& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b.data()[i];
  return sum;
}

// The last `extra` of every `channels` numbers, and the others.
inline std::pair<Array, Array> split(const Array& x, int64_t channels, int64_t extra) {
  const int64_t pixels = x.size() / channels, own = channels - extra;
  std::pair<Array, Array> out{Array(pixels * own), Array(pixels * extra)};
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t p = i / channels, c = i % channels;
    (c < own ? out.first.data()[p * own + c] : out.second.data()[p * extra + c - own]) =
        x.data()[i];
  }
  return out;
}

}  // namespace tweedie::kernels::plain

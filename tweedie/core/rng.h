// Counter-based random numbers: the draw is a pure function of (seed, stream, position), so nothing
// depends on batch size, thread count or what was drawn before, and no state need be saved.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tweedie {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
/// `stream` separates independent uses under one seed: an image index, a step, an epoch.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0);

  uint32_t bits();
  /// In [0, 1), 53 random bits.
  double uniform();
  /// In [0, n), without bias; n >= 1.
  uint64_t below(uint64_t n);
  /// Standard normal (Box-Muller), the next of the sequence.
  double normal();
  void fill_normal(float* out, size_t n);
  /// A random order of 0..n-1 (Fisher-Yates).
  std::vector<int64_t> permutation(int64_t n);

 private:
  void refill();
  uint32_t key_[2];
  uint64_t stream_, block_ = 0;
  uint32_t words_[4];
  int used_ = 4;
  double spare_ = 0;
  bool has_spare_ = false;
};

/// Mixes a word and numbers into one 64-bit stream name: stream_of("shuffle", epoch).
uint64_t stream_of(std::string_view use, uint64_t a = 0, uint64_t b = 0);

}  // namespace tweedie

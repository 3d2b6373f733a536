#include "tweedie/core/rng.h"

#include <cmath>
#include <numbers>
#include <numeric>

namespace tweedie {
namespace {

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

Rng::Rng(uint64_t seed, uint64_t stream) : stream_(stream) {
  key_[0] = static_cast<uint32_t>(seed);
  key_[1] = static_cast<uint32_t>(seed >> 32);
}

void Rng::refill() {
  uint32_t c[4] = {static_cast<uint32_t>(block_), static_cast<uint32_t>(block_ >> 32),
                   static_cast<uint32_t>(stream_), static_cast<uint32_t>(stream_ >> 32)};
  uint32_t k0 = key_[0], k1 = key_[1];
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
    const uint32_t next[4] = {
        static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
        static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; ++i) words_[i] = c[i];
  ++block_;
  used_ = 0;
}

uint32_t Rng::bits() {
  if (used_ == 4) refill();
  return words_[used_++];
}

double Rng::uniform() {
  const uint64_t high = bits(), low = bits();
  return static_cast<double>(((high << 32) | low) >> 11) * 0x1p-53;
}

uint64_t Rng::below(uint64_t n) {
  const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  while (true) {
    const uint64_t high = bits(), draw = (high << 32) | bits();
    if (draw < limit) return draw % n;
  }
}

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  const double radius = std::sqrt(-2 * std::log1p(-uniform()));
  const double angle = 2 * std::numbers::pi * uniform();
  spare_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

void Rng::fill_normal(float* out, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(normal());
}

std::vector<int64_t> Rng::permutation(int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[below(i + 1)]);
  return order;
}

uint64_t stream_of(std::string_view use, uint64_t a, uint64_t b) {
  uint64_t h = 0xcbf29ce484222325ull;  // FNV-1a over the word
  for (const char c : use) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return mix(mix(h + 0x9e3779b97f4a7c15ull * a) + 0x9e3779b97f4a7c15ull * b + 1);
}

}  // namespace tweedie

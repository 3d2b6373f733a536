// Two sides in turns, and the table of what came out.
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace tweedie::bench {

using Work = std::function<void()>;

constexpr const char *kCifar = "ddpm-cifar10", *kFashion = "fashion", *kSd = "sd-1.5";

/// A stock operation in one memory layout.
struct Stock {
  const char* layout;
  Work work;
};

struct Case {
  std::string net;
  int64_t batch;  ///< 0: there is none
  std::string shape, what;
  double amount;  ///< floating-point operations or bytes that one call gets through
};

/// Prints each line as soon as it is known.
class Rounds {
 public:
  bool json = false, all = false;
  int rounds = 7, threads = 2;
  std::vector<int64_t> batches{1, 16, 64};
  std::vector<std::string> nets{kCifar, kFashion, kSd};

  /// Those to time a network at; none if it is not among `nets`.
  std::vector<int64_t> batches_of(const std::string& net) const;

  void machine() const;
  /// What the next duels are about; their rates are in 1e9 of `unit`, "GFLOP/s" or "GB/s".
  void section(const std::string& name, const std::string& unit, const std::string& title);
  /// Ours and the stock one, in the layout that is fastest when tried first.
  void duel(const Case& c, const Work& ours, const std::vector<Stock>& layouts);

 private:
  std::string section_, unit_;
  std::string head_;  // not printed yet
};

}  // namespace tweedie::bench

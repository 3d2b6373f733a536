#include "bench/rounds.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <iostream>
#include <optional>
#include <utility>

#include "tweedie/core/options.h"
#include "tweedie/kernels/instruction_set.h"
#include "tweedie/kernels/peak.h"

namespace tweedie::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const Work& work, int64_t calls) {
  const Clock::time_point start = Clock::now();
  for (int64_t i = 0; i < calls; ++i) work();
  return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(calls);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// Work that is repeated for about 0.1 s a turn: one call of a few ms on cold caches is noise.
class Side {
 public:
  explicit Side(Work work) : work_(std::move(work)) {
    work_();  // code and memory are there from now on
    once_ = seconds_of(work_, 1);
    calls_ = std::max(1L, std::lround(0.1 / once_));
  }
  double turn() const { return seconds_of(work_, calls_); }
  double tried() const { return slow() ? once_ : std::min(turn(), turn()); }
  bool slow() const { return once_ > 1; }

 private:
  Work work_;
  double once_;
  int64_t calls_;
};

// How many cores other programs have kept busy since it was made.
class Others {
 public:
  double cores() const {
    return (busy() - busy_) / std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  // Seconds of all cores, from the first line of /proc/stat, without our own.
  static double busy() {
    std::ifstream file("/proc/stat");
    std::string cpu;
    double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, stolen = 0;
    file >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft >> stolen;
    return (user + nice + system + irq + soft + stolen) / double(sysconf(_SC_CLK_TCK)) -
           double(std::clock()) / CLOCKS_PER_SEC;
  }

  Clock::time_point start_ = Clock::now();
  double busy_ = busy();
};

void print(const std::string& line) { std::cout << line << std::endl; }

}  // namespace

std::vector<int64_t> Rounds::batches_of(const std::string& net) const {
  if (std::ranges::find(nets, net) == nets.end()) return {};
  std::vector<int64_t> out = batches;
  // Its activations at batch 64 are GBs and take minutes.
  if (net == kSd && !all) std::erase_if(out, [](int64_t n) { return n > 16; });
  return out;
}

void Rounds::machine() const {
  const std::string isa = kernels::instruction_set();
  const double peak = kernels::measure_peak(threads, 0.4, kernels::on_torch_threads) / 1e9;
  if (json)
    print(Json{{"fma_peak_gflops", peak}, {"threads", threads}, {"instruction_set", isa}}.dump());
  else
    print(formatted("peak of float32 FMA: {:.0f} GFLOP/s, {} threads, {}", peak, threads, isa));
}

void Rounds::section(const std::string& name, const std::string& unit, const std::string& title) {
  section_ = name, unit_ = unit;
  head_ = formatted("\n{}\n{:12}  {:>5}  {:26}  {:17}  {:>7}  {:>7}  {}", title, "network", "batch",
                    "shape", "what", "ours", "stock", "ratio (least .. most)");
}

void Rounds::duel(const Case& c, const Work& our_work, const std::vector<Stock>& layouts) {
  const Side ours(our_work);
  std::optional<Side> stock;
  const char* layout = nullptr;
  double fastest = INFINITY;
  for (const Stock& s : layouts) {
    const Side side(s.work);
    const double seconds = layouts.size() > 1 ? side.tried() : 0;
    if (seconds < fastest) stock = side, layout = s.layout, fastest = seconds;
  }
  const int turns = ours.slow() || stock->slow() ? std::min(rounds, 3) : rounds;
  std::vector<double> our_turns, stock_turns, ratios;
  const Others others;
  for (int i = 0; i < turns; ++i) {
    our_turns.push_back(ours.turn());
    stock_turns.push_back(stock->turn());
    ratios.push_back(stock_turns.back() / our_turns.back());
  }
  const double busy = others.cores();
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  const double our_rate = c.amount / median(our_turns) / 1e9;
  const double stock_rate = c.amount / median(stock_turns) / 1e9;
  if (json) {
    print(Json{{"section", section_},
               {"net", c.net},
               {"batch", c.batch ? Json(c.batch) : Json()},
               {"shape", c.shape},
               {"what", c.what},
               {"unit", unit_},
               {"ours", our_rate},
               {"stock", stock_rate},
               {"stock_layout", layout},
               {"ratio", median(ratios)},
               {"least", *least},
               {"most", *most},
               {"rounds", turns},
               {"cores_of_others", busy},
               {"ours_seconds", median(our_turns)},
               {"stock_seconds", median(stock_turns)}}
              .dump());
  } else {
    if (!head_.empty()) print(std::exchange(head_, ""));
    print(formatted("{:12}  {:>5}  {:26}  {:17}  {:7.1f}  {:7.1f}  {:.2f} ({:.2f} .. {:.2f}){}",
                    c.net, c.batch ? std::to_string(c.batch) : "", c.shape, c.what, our_rate,
                    stock_rate, median(ratios), *least, *most,
                    busy > 0.1 ? formatted("  others took {:.1f} cores", busy) : ""));
  }
}

}  // namespace tweedie::bench

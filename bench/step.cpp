// Our side of the duels: runs steps of a network when duel.py tells it to.
//
//   usage: bench_step forward|train CONFIG.json BATCH SIZE THREADS
//
// Prints a line once it is ready, then answers each line "go N" on standard input with the figures
// of N steps.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <malloc.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>
#include <optional>

#include "tweedie/core/heap.h"
#include "tweedie/losses/simple.h"
#include "tweedie/nn/state.h"
#include "tweedie/nn/unet.h"
#include "tweedie/train/ema.h"
#include "tweedie/train/optimizer.h"

namespace {

using namespace tweedie;

// A line of /proc/self/status in bytes.
int64_t status(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind(key + ":", 0) == 0) return 1024 * std::stoll(line.substr(key.size() + 1));
  fail_system("/proc/self/status has no {}", key);
}

// Where that is not allowed, the peak is that of the whole life; the peer does the same.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

Parameters parameters_of(const UNet& net) {
  Parameters parameters;
  for (const auto& item : net->named_parameters()) {
    parameters.names.push_back(item.key());
    parameters.tensors.push_back(item.value());
  }
  return parameters;
}

// What a step computes on: always the same images, times and classes.
struct Input {
  Tensor x, eps, t, classes;
  Input(const UNetOptions& options, int64_t batch, int64_t size) {
    const std::vector<int64_t> shape{batch, options.in_channels, size, size};
    x = at::randn(shape);
    eps = at::randn(shape);
    t = at::randint(1000, {batch}, at::kLong);
    if (options.num_class_embeds)
      classes = at::randint(*options.num_class_embeds, {batch}, at::kLong);
  }
};

// A network and, to train it, what training holds beside it.
class Step {
 public:
  Step(const UNetOptions& options, bool train, int64_t batch, int64_t size)
      : net_(options), in_(options, batch, size) {
    net_->train(train);
  }

  void prepare() {
    optimizer_.emplace(parameters_of(net_), options_);
    ema_.emplace(parameters_of(net_).tensors, options_);
  }

  void operator()() { net_->is_training() ? train() : forward(); }

  int64_t parameters() const { return parameter_count(*net_); }

 private:
  void forward() {
    const c10::InferenceMode guard;
    net_->forward(in_.x, in_.t, in_.classes);
  }
  void train() {
    simple_loss(net_->forward(in_.x, in_.t, in_.classes), in_.eps).mean().backward();
    optimizer_->step({.learning_rate = 1e-4, .k = ++done_, .ema = &*ema_});
    optimizer_->zero_grad();
  }

  UNet net_;
  Input in_;
  TrainOptions options_;
  std::optional<AdamW> optimizer_;
  std::optional<Ema> ema_;
  int64_t done_ = 0;
};

void run(const std::string& task, const char* config, int64_t batch, int64_t size, int threads) {
  using Clock = std::chrono::steady_clock;
  at::set_num_threads(threads);
  at::manual_seed(0);
  const bool train = task == "train";
  const UNetOptions options = unet_options_from_json(Json::parse(std::ifstream(config)));
  {
    // The code of a step is in memory before the baseline is read.
    UNetOptions small = options;
    small.block_out_channels.assign(options.block_out_channels.size(), 32);
    Step step(small, train, 1, size);
    if (train) step.prepare();
    step();
  }
  Step step(options, train, batch, size);
  malloc_trim(0);
  const int64_t built = status("VmRSS");
  if (train) step.prepare();
  step();
  step();
  std::cout << Json{{"parameters", step.parameters()}, {"built", built}} << std::endl;

  std::string word;
  for (int64_t n = 0; std::cin >> word >> n;) {
    reset_peak();
    const std::clock_t cpu = std::clock();
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < n; ++i) step();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    std::cout << Json{{"seconds", seconds / n},
                      {"cpu", double(std::clock() - cpu) / CLOCKS_PER_SEC / n},
                      {"rss", status("VmRSS")},
                      {"peak", status("VmHWM")}}
              << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();  // as the program tweedie does
  if (argc != 6) return std::cerr << "usage: bench_step TASK CONFIG BATCH SIZE THREADS\n", 2;
  run(argv[1], argv[2], std::stoll(argv[3]), std::stoll(argv[4]), std::stoi(argv[5]));
}

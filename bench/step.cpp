// Our side of the duels: runs steps of a network when duel.py tells it to.
//
//   usage: bench_step forward|train CONFIG.json BATCH SIZE THREADS
//
// Prints a line once it is ready, then answers each line of standard input:
//   go N                    the figures of N steps
//   conv BATCH IN OUT SIDE  seconds of one 3x3 convolution; training: and its three gradients
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <malloc.h>
#include <torch/csrc/autograd/autograd.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>

#include "tweedie/core/heap.h"
#include "tweedie/kernels/conv.h"
#include "tweedie/kernels/instruction_set.h"
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

double seconds_of(const std::function<void()>& work, int64_t n) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  for (int64_t i = 0; i < n; ++i) work();
  return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(n);
}

Json figures(Step& step, int64_t steps) {
  reset_peak();
  const std::clock_t start = std::clock();
  const double seconds = seconds_of(std::ref(step), steps);
  const double cpu = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  return {
      {"seconds", seconds}, {"cpu", cpu / static_cast<double>(steps)}, {"peak", status("VmHWM")}};
}

double conv_seconds(bool train, int64_t batch, int64_t in, int64_t out, int64_t side) {
  const auto random = [&](int64_t channels) {
    return at::randn({batch, channels, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
  };
  const Tensor x = random(in).requires_grad_(train), dy = random(out);
  const Tensor w = at::randn({out, in, 3, 3}).requires_grad_(train);
  const Tensor b = at::randn({out}).requires_grad_(train);
  FilterCache cache;  // as the network has, to transform the filter once
  const auto work = [&] {
    const c10::InferenceMode guard(!train);
    const Tensor y = conv3x3(x, w, b, {.cache = &cache});
    if (train) torch::autograd::grad({y}, {x, w, b}, {dy});
  };
  work();
  return seconds_of(work, std::max(1L, std::lround(0.1 / seconds_of(work, 1))));
}

void serve(bool train, const UNetOptions& options, int64_t batch, int64_t size) {
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

  for (std::string word; std::cin >> word;) {
    Json answer;
    if (word == "go") {
      int64_t steps = 0;
      std::cin >> steps;
      answer = figures(step, steps);
    } else if (word == "conv") {
      int64_t n = 0, in = 0, out = 0, side = 0;
      std::cin >> n >> in >> out >> side;
      answer = {{"seconds", conv_seconds(train, n, in, out, side)}};
    } else {
      answer = {{"error", "no such command: " + word}};
    }
    std::cout << answer << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();  // as the program tweedie does
  if (argc != 6) return std::cerr << "usage: bench_step TASK CONFIG BATCH SIZE THREADS\n", 2;
  const bool training = argv[1] == std::string("train");
  if (!training) use_huge_pages();
  kernels::limit_instruction_set_from_environment();
  at::set_num_threads(std::stoi(argv[5]));
  at::manual_seed(0);
  serve(training, unet_options_from_json(Json::parse(std::ifstream(argv[2]))), std::stoll(argv[3]),
        std::stoll(argv[4]));
}

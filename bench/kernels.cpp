// Our 3x3 convolution beside LibTorch's, shape by shape and direction by direction, in one run.
//   bench_kernels [--json] [--rounds N] [--threads N]
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>

#include "tweedie/core/options.h"
#include "tweedie/kernels/conv.h"
#include "tweedie/kernels/instruction_set.h"

namespace {

using namespace tweedie;

struct Shape {
  const char* net;
  int64_t n, in, out, side;
};
// The 3x3 convolutions of ddpm-cifar10, of configs/fashion.json, and of SD 1.5's levels.
constexpr Shape kShapes[] = {{"ddpm-cifar10", 16, 128, 128, 32}, {"ddpm-cifar10", 16, 256, 256, 16},
                             {"ddpm-cifar10", 16, 512, 256, 16}, {"ddpm-cifar10", 16, 256, 256, 8},
                             {"ddpm-cifar10", 16, 256, 256, 4},  {"ddpm-cifar10", 1, 128, 128, 32},
                             {"ddpm-cifar10", 1, 256, 256, 16},  {"fashion", 64, 64, 64, 28},
                             {"fashion", 64, 128, 128, 14},      {"fashion", 64, 128, 128, 7},
                             {"fashion", 1, 64, 64, 28},         {"fashion-small", 64, 32, 32, 28},
                             {"fashion-small", 64, 64, 64, 14},  {"sd-1.5", 2, 320, 320, 64},
                             {"sd-1.5", 2, 640, 640, 32}};

using Work = std::function<void()>;

double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Duel {
  double ours = 0, stock = 0, least = 0, most = 0;  // seconds; ratios round by round
};

// Ours and the stock one in turns; the stock one in the layout that is faster.
Duel fight(const Work& ours, const std::array<Work, 2>& layouts, int rounds) {
  std::array<double, 2> tried{};
  for (int l = 0; l < 2; ++l) {
    layouts[l]();
    tried[l] = std::min(seconds_of(layouts[l]), seconds_of(layouts[l]));
  }
  const Work& stock = layouts[tried[1] < tried[0]];
  ours();
  std::vector<double> a, b, ratios;
  for (int round = 0; round < rounds; ++round) {
    a.push_back(seconds_of(ours));
    b.push_back(seconds_of(stock));
    ratios.push_back(b.back() / a.back());
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  return {median(a), median(b), *least, *most};
}

// The three directions of one convolution as work to time. Gradients come through autograd.
struct Directions {
  std::array<Work, 3> work;
};

Directions directions(Tensor x, Tensor w, const Tensor& b, bool ours) {
  const auto conv = [ours](const Tensor& x, const Tensor& w, const Tensor& b) {
    return ours ? conv3x3(x, w, b) : at::conv2d(x, w, b, 1, 1);
  };
  const Tensor xg = x.detach().requires_grad_(true), wg = w.detach().requires_grad_(true);
  const Tensor y = conv(xg, wg, b), dy = at::randn_like(y);
  const auto gradient = [=](const Tensor& of) {
    return [=] { torch::autograd::grad({y}, {of}, {dy}, /*retain_graph=*/true); };
  };
  return {{[=] {
             const at::NoGradGuard no_grad;
             conv(x, w, b);
           },
           gradient(xg), gradient(wg)}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Our 3x3 convolution beside LibTorch's.");
  bool as_json = false;
  int rounds = 7, threads = 2;
  app.add_flag("--json", as_json, "one object a line");
  app.add_option("--rounds", rounds, "of ours and theirs in turns")->check(CLI::Range(1, 1000));
  app.add_option("--threads", threads, "of both")->check(CLI::Range(1, 1024));
  CLI11_PARSE(app, argc, argv);
  kernels::limit_instruction_set_from_environment();
  at::set_num_threads(threads);
  at::manual_seed(0);
  constexpr const char* kNames[] = {"forward", "gradient of x", "gradient of w"};
  for (const Shape& s : kShapes) {
    const auto last = [](const Tensor& t) { return t.contiguous(at::MemoryFormat::ChannelsLast); };
    const Tensor x = at::randn({s.n, s.in, s.side, s.side}), b = at::randn({s.out});
    const Tensor w = at::randn({s.out, s.in, 3, 3});
    const Directions ours = directions(last(x), w, b, true);
    const Directions plain = directions(x, w, b, false),
                     nhwc = directions(last(x), last(w), b, false);
    const double flop = 2.0 * 9 * double(s.n * s.in * s.out * s.side * s.side);
    for (int i = 0; i < 3; ++i) {
      const Duel d = fight(ours.work[i], {plain.work[i], nhwc.work[i]}, rounds);
      if (as_json) {
        std::cout << Json{{"net", s.net},
                          {"n", s.n},
                          {"in", s.in},
                          {"out", s.out},
                          {"side", s.side},
                          {"what", kNames[i]},
                          {"gflops", flop / d.ours / 1e9},
                          {"stock_gflops", flop / d.stock / 1e9},
                          {"ratio", d.stock / d.ours},
                          {"least", d.least},
                          {"most", d.most}}
                         .dump()
                  << "\n";
      } else {
        std::cout << fmt::format(
            "{:13} {:>2} x {:>3}->{:<3} {:>2}x{:<2}  {:13}  {:4.0f} GFLOP/s  stock {:4.0f}  "
            "{:.2f}x "
            "({:.2f}..{:.2f})\n",
            s.net, s.n, s.in, s.out, s.side, s.side, kNames[i], flop / d.ours / 1e9,
            flop / d.stock / 1e9, d.stock / d.ours, d.least, d.most);
      }
      std::cout.flush();
    }
  }
}

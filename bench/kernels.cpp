// Our kernels beside LibTorch's operations on the same shapes, in one run; `--help` says how to
// ask.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "bench/rounds.h"
#include "tweedie/core/error.h"
#include "tweedie/core/heap.h"
#include "tweedie/kernels/adamw.h"
#include "tweedie/kernels/conv.h"
#include "tweedie/kernels/group_norm.h"
#include "tweedie/kernels/instruction_set.h"
#include "tweedie/kernels/linear.h"
#include "tweedie/kernels/self_attention.h"

namespace {

using namespace tweedie;
using bench::kCifar;
using bench::kFashion;
using bench::kSd;
using bench::Rounds;
using bench::Work;
using Tensors = std::vector<Tensor>;
using Operation = std::function<Tensor(const Tensors&)>;

// As sampling does it.
Work inference(const Operation& f, const Tensors& in) {
  return [=] {
    const c10::InferenceMode guard;
    f(in);
  };
}

// An operation whose backward pass can be run any number of times.
struct Graph {
  Operation f;
  Tensors in;
  Tensor y, dy;

  Graph(const Operation& op, const Tensors& inputs) : f(op) {
    for (const Tensor& t : inputs) in.push_back(t.detach().requires_grad_(true));
    y = f(in);
    dy = at::randn_like(y);
  }
  Work forward() const {
    return [f = f, in = in] { f(in); };
  }
  Work gradients(const Tensors& of) const {
    return [y = y, dy = dy, of] { torch::autograd::grad({y}, of, {dy}, /*retain_graph=*/true); };
  }
};

Tensor last(const Tensor& t) { return t.contiguous(at::MemoryFormat::ChannelsLast); }

void conv(Rounds& rounds) {
  struct Shape {
    const char* net;
    int64_t in, out, side;
  };
  constexpr Shape kShapes[] = {
      {kCifar, 128, 128, 32},   {kCifar, 256, 256, 16},  {kCifar, 256, 256, 8},
      {kCifar, 256, 256, 4},    {kCifar, 128, 256, 16},  {kCifar, 512, 256, 16},
      {kCifar, 384, 128, 32},   {kCifar, 256, 128, 32},  {kFashion, 64, 64, 28},
      {kFashion, 128, 64, 28},  {kFashion, 64, 128, 14}, {kFashion, 128, 128, 14},
      {kFashion, 256, 128, 14}, {kFashion, 128, 128, 7}, {kSd, 320, 320, 64},
      {kSd, 640, 320, 64},      {kSd, 640, 640, 32},     {kSd, 1280, 640, 32},
      {kSd, 1280, 1280, 16}};
  rounds.section("conv", "GFLOP/s", "3x3 convolution: GFLOP/s of the direct sum");
  for (const Shape& s : kShapes) {
    for (const int64_t n : rounds.batches_of(s.net)) {
      const Tensor x = at::randn({n, s.in, s.side, s.side}), w = at::randn({s.out, s.in, 3, 3});
      const Tensor x_last = last(x), w_last = last(w), b = at::randn({s.out});
      FilterCache cache;
      const Operation ours = [&](const Tensors& t) {
        return conv3x3(t[0], t[1], b, {.cache = &cache});
      };
      const Operation stock = [&](const Tensors& t) { return at::conv2d(t[0], t[1], b, 1, 1); };
      const double flop = 2.0 * 9 * double(n * s.in * s.out * s.side * s.side);
      const auto duel = [&](const char* what, const Work& a, const Work& plain, const Work& nhwc) {
        rounds.duel({s.net, n, formatted("{}->{}, {}x{}", s.in, s.out, s.side, s.side), what, flop},
                    a, {{"contiguous", plain}, {"channels_last", nhwc}});
      };
      duel("forward", inference(ours, {x_last, w_last}), inference(stock, {x, w}),
           inference(stock, {x_last, w_last}));
      const Graph a(ours, {x_last, w_last}), plain(stock, {x, w}), nhwc(stock, {x_last, w_last});
      duel("forward, training", a.forward(), plain.forward(), nhwc.forward());
      for (const int i : {0, 1})
        duel(i ? "gradient of w" : "gradient of x", a.gradients({a.in[i]}),
             plain.gradients({plain.in[i]}), nhwc.gradients({nhwc.in[i]}));
    }
  }
}

void group_norm(Rounds& rounds) {
  struct Shape {
    const char* net;
    int64_t channels, side;
  };
  constexpr Shape kShapes[] = {{kCifar, 128, 32},   {kCifar, 384, 32},  {kCifar, 256, 16},
                               {kCifar, 256, 8},    {kCifar, 256, 4},   {kFashion, 64, 28},
                               {kFashion, 128, 14}, {kFashion, 128, 7}, {kSd, 320, 64},
                               {kSd, 640, 32},      {kSd, 1280, 16}};
  constexpr int64_t kGroups = 32;
  constexpr double kEps = 1e-6;
  const Operation ours = [](const Tensors& t) {
    return tweedie::group_norm(
        t[0], {.groups = kGroups, .eps = kEps, .weight = t[1], .bias = t[2], .silu = true});
  };
  const Operation stock = [](const Tensors& t) {
    return at::silu(at::group_norm(t[0], kGroups, t[1], t[2], kEps));
  };
  rounds.section("group_norm", "GB/s",
                 "group norm + SiLU: GB/s of reading x (and dy) once and writing y (dx)");
  for (const Shape& s : kShapes) {
    for (const int64_t n : rounds.batches_of(s.net)) {
      const Tensors in{at::randn({n, s.channels, s.side, s.side}), at::randn({s.channels}),
                       at::randn({s.channels})};
      const Tensors in_last{last(in[0]), in[1], in[2]};
      const double bytes = 4.0 * double(in[0].numel());
      const std::string shape = formatted("{}, {}x{}", s.channels, s.side, s.side);
      rounds.duel(
          {s.net, n, shape, "forward", 2 * bytes}, inference(ours, in_last),
          {{"contiguous", inference(stock, in)}, {"channels_last", inference(stock, in_last)}});
      const Graph a(ours, in_last), plain(stock, in), nhwc(stock, in_last);
      rounds.duel(
          {s.net, n, shape, "backward", 3 * bytes}, a.gradients(a.in),
          {{"contiguous", plain.gradients(plain.in)}, {"channels_last", nhwc.gradients(nhwc.in)}});
    }
  }
}

void self_attention(Rounds& rounds) {
  struct Shape {
    const char* net;
    int64_t tokens, heads, dim;
  };
  constexpr Shape kShapes[] = {{kCifar, 256, 1, 256}, {kCifar, 16, 1, 256}, {kFashion, 196, 16, 8},
                               {kFashion, 49, 16, 8}, {kSd, 1024, 8, 80},   {kSd, 256, 8, 160},
                               {kSd, 64, 8, 160}};
  rounds.section("self_attention", "GFLOP/s",
                 "self attention: GFLOP/s of two products forward, four backward");
  for (const Shape& s : kShapes) {
    const Operation ours = [&](const Tensors& t) { return tweedie::self_attention(t[0], s.heads); };
    const Operation stock = [&](const Tensors& t) {
      const Tensors parts =
          t[0].view({t[0].size(0), s.tokens, 3, s.heads, s.dim}).permute({2, 0, 3, 1, 4}).unbind(0);
      const Tensor y = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
      return y.transpose(1, 2).flatten(2);
    };
    for (const int64_t n : rounds.batches_of(s.net)) {
      const Tensors in{at::randn({n, s.tokens, 3 * s.heads * s.dim})};
      const double flop = 4.0 * double(n * s.tokens * s.tokens * s.heads * s.dim);
      const std::string shape = formatted("tokens {}, heads {} of {}", s.tokens, s.heads, s.dim);
      rounds.duel({s.net, n, shape, "forward", flop}, inference(ours, in),
                  {{"contiguous", inference(stock, in)}});
      const Graph a(ours, in), b(stock, in);
      rounds.duel({s.net, n, shape, "backward", 2 * flop}, a.gradients(a.in),
                  {{"contiguous", b.gradients(b.in)}});
    }
  }
}

void linear(Rounds& rounds) {
  struct Shape {
    const char* net;
    int64_t tokens, in, out;
  };
  // Queries, keys and values; what follows attention; 1x1 shortcuts; times; SD's feed-forward.
  constexpr Shape kShapes[] = {{kCifar, 256, 256, 768},   {kCifar, 256, 256, 256},
                               {kCifar, 256, 512, 256},   {kCifar, 1, 512, 512},
                               {kFashion, 196, 128, 384}, {kFashion, 196, 128, 128},
                               {kFashion, 1, 256, 256},   {kSd, 1024, 640, 640},
                               {kSd, 1024, 640, 5120},    {kSd, 1024, 2560, 640}};
  rounds.section("linear", "GFLOP/s", "linear without gradients: GFLOP/s");
  for (const Shape& s : kShapes) {
    for (const int64_t n : rounds.batches_of(s.net)) {
      const Tensors in{at::randn({n, s.tokens, s.in})};
      const Tensor w = at::randn({s.out, s.in}), b = at::randn({s.out});
      WeightCache cache;
      rounds.duel(
          {s.net, n, formatted("{}->{}, tokens {}", s.in, s.out, s.tokens), "forward",
           2.0 * double(n * s.tokens * s.in * s.out)},
          inference([&](const Tensors& t) { return tweedie::linear(t[0], {}, w, b, {}, cache); },
                    in),
          {{"contiguous",
            inference([&](const Tensors& t) { return at::linear(t[0], w, b); }, in)}});
    }
  }
}

void adamw(Rounds& rounds) {
  struct Kind {
    int64_t count, size;
  };
  if (rounds.batches_of(kCifar).empty()) return;
  // All its parameters.
  constexpr Kind kKinds[] = {{38, 128},
                             {154, 256},
                             {4, 384},
                             {18, 512},
                             {1, 3},
                             {2, 128 * 3 * 9},
                             {8, 128 * 128 * 9},
                             {3, 256 * 128 * 9},
                             {29, 256 * 256 * 9},
                             {8, 256 * 512 * 9},
                             {1, 256 * 384 * 9},
                             {1, 128 * 384 * 9},
                             {3, 256 * 128},
                             {24, 256 * 256},
                             {8 + 17, 256 * 512},
                             {1, 256 * 384},
                             {1, 128 * 384},
                             {6, 128 * 512},
                             {1, 512 * 512}};
  constexpr double kRate = 1e-4, kBeta1 = 0.9, kBeta2 = 0.999, kDecay = 0.01, kEpsilon = 1e-8;
  constexpr double kMean = 0.999;
  constexpr int64_t kStep = 1000;
  Tensors p, g, m, v, e;
  std::vector<kernels::AdamWTensor> tensors;
  int64_t size = 0;
  for (const Kind& kind : kKinds) {
    for (int64_t i = 0; i < kind.count; ++i) {
      const auto noise = [&] { return at::randn({kind.size}); };
      p.push_back(noise()), g.push_back(noise()), m.push_back(noise()), v.push_back(noise().abs());
      e.push_back(p.back().clone());
      tensors.push_back({kind.size, p.back().data_ptr<float>(), g.back().data_ptr<float>(),
                         m.back().data_ptr<float>(), v.back().data_ptr<float>(),
                         e.back().data_ptr<float>()});
      size += kind.size;
    }
  }
  const Tensors steps(p.size(), at::full({}, double(kStep)));
  rounds.section(
      "adamw", "GB/s",
      "AdamW + running mean of the weights: GB/s of reading five and writing four arrays");
  rounds.duel({kCifar, 0, formatted("{:.1f}M, {} tensors", double(size) / 1e6, p.size()), "step",
               9 * 4 * double(size)},
              [&] {
                kernels::adamw(tensors, {kRate, kBeta1, kBeta2, kDecay, kEpsilon, kStep, 1, kMean},
                               kernels::on_torch_threads);
              },
              {{"contiguous", [&] {
                  at::_fused_adamw_(p, g, m, v, {}, steps, kRate, kBeta1, kBeta2, kDecay, kEpsilon,
                                    /*amsgrad=*/false, /*maximize=*/false);
                  at::_foreach_lerp_(e, p, 1 - kMean);
                }}});
}

struct Section {
  std::string name;
  void (*run)(Rounds&);
};
const std::vector<Section> kSections{{"conv", conv},
                                     {"group_norm", group_norm},
                                     {"self_attention", self_attention},
                                     {"linear", linear},
                                     {"adamw", adamw}};

void check_known(const char* what, const std::vector<std::string>& given,
                 const std::vector<std::string>& known) {
  for (const std::string& name : given)
    if (std::ranges::find(known, name) == known.end()) fail_unknown(what, name, known);
}

int failed(const std::string& message, int code) {
  std::cerr << "bench_kernels: " << message.substr(0, message.find('\n')) << "\n";
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();  // as the program tweedie does
  CLI::App app("Our kernels beside LibTorch's operations; ratio = stock's time / ours.");
  Rounds rounds;
  std::vector<std::string> names, only;
  const std::vector<std::string> nets = rounds.nets;
  for (const Section& s : kSections) names.push_back(s.name);
  app.add_flag("--json", rounds.json, "one object a line");
  app.add_option("--only", only, formatted("of {}", fmt::join(names, ", ")))->delimiter(',');
  app.add_option("--net", rounds.nets, formatted("of {}", fmt::join(nets, ", ")))->delimiter(',');
  app.add_option("--batch", rounds.batches, "in place of 1,16,64")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096));
  app.add_flag("--all", rounds.all, "SD 1.5 at batches above 16 too: minutes and GBs");
  app.add_option("--rounds", rounds.rounds, "of ours and stock in turns")
      ->check(CLI::Range(1, 1000));
  app.add_option("--threads", rounds.threads, "of both")->check(CLI::Range(1, 1024));
  try {
    app.parse(argc, argv);
    check_known("section", only, names);
    check_known("network", rounds.nets, nets);
    kernels::limit_instruction_set_from_environment();
    at::set_num_threads(rounds.threads);
    at::manual_seed(0);
    rounds.machine();
    for (const Section& s : kSections)
      if (only.empty() || std::ranges::find(only, s.name) != only.end()) s.run(rounds);
    return 0;
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    return failed(error.what(), 2);
  } catch (const Error& error) {
    return failed(error.what(), error.kind() == Error::Kind::kUser ? 2 : 1);
  } catch (const std::exception& error) {
    return failed(error.what(), 1);
  }
}

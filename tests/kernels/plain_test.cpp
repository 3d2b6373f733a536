// The kernels on plain pointers against their definitions in float64. Needs no LibTorch, so that it
// also runs on instruction sets that the machine has not (tests/kernels/on_arm). Every array ends
// where readable memory does: a kernel that touches what lies beyond it crashes.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "tweedie/kernels/adamw.h"
#include "tweedie/kernels/attention.h"
#include "tweedie/kernels/matmul.h"
#include "tweedie/kernels/norm.h"
#include "tweedie/kernels/winograd.h"

namespace tweedie::kernels {
namespace {

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

Array noise(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Array out(size);
  for (int64_t i = 0; i < size; ++i) out.data()[i] = normal(random);
  return out;
}

// Backwards and one by one, so that nothing is carried from a part to the next.
void in_parts(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  for (int64_t i = count; i-- > 0;) work(i, i + 1);
}

// |a - b| / |b|.
void expect_close(const Array& a, const Numbers& b, double tolerance, const char* what) {
  ASSERT_EQ(a.size(), static_cast<int64_t>(b.size())) << what;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i)
    difference += std::pow(a.data()[i] - b[i], 2), norm += b[i] * b[i];
  EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(norm)) << what;
}

// The gradient of f, a sum over its inputs, by central differences.
Numbers gradient(const std::function<double(const Numbers&)>& f, Numbers at) {
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

double dot(const Numbers& a, const Array& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b.data()[i];
  return sum;
}

// --- convolution ---------------------------------------------------------------------------------

constexpr double kWinogradTolerance = 1e-5;

// The last `extra` of every `channels` numbers, and the others.
std::pair<Array, Array> split(const Array& x, int64_t channels, int64_t extra) {
  const int64_t pixels = x.size() / channels, own = channels - extra;
  std::pair<Array, Array> out{Array(pixels * own), Array(pixels * extra)};
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t p = i / channels, c = i % channels;
    (c < own ? out.first.data()[p * own + c] : out.second.data()[p * extra + c - own]) =
        x.data()[i];
  }
  return out;
}

// f(y, x, w) for every product w * x that y sums; w lies [k,3,3,c], a trained network's layout.
void each_product(const Conv3x3Shape& s, const std::function<void(int64_t, int64_t, int64_t)>& f) {
  const int up = s.scale == ConvScale::kUpsampled, pool = s.scale == ConvScale::kPooled;
  const auto pixel = [&](int64_t n, int64_t i, int64_t j, int halved) {
    return (n * (s.h >> halved) + (i >> halved)) * (s.w >> halved) + (j >> halved);
  };
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.h; ++i)
      for (int64_t j = 0; j < s.w; ++j)
        for (int64_t tap = 0; tap < 9; ++tap) {
          const int64_t y = i + tap / 3 - 1, x = j + tap % 3 - 1;
          if (y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
          for (int64_t k = 0; k < s.k; ++k)
            for (int64_t c = 0; c < s.c; ++c)
              f(pixel(n, i, j, pool) * s.k + k, pixel(n, y, x, up) * s.c + c,
                (k * 9 + tap) * s.c + c);
        }
}

struct Convolution {
  explicit Convolution(const Conv3x3Shape& s)
      : shape(s),
        x(noise(pixels(ConvScale::kUpsampled) * s.c, 1)),
        w(noise(s.k * 9 * s.c, 2)),
        dy(noise(pixels(ConvScale::kPooled) * s.k, 3)) {}

  // Of the side that `halving` halves.
  int64_t pixels(ConvScale halving) const {
    return shape.n * shape.h * shape.w / (shape.scale == halving ? 4 : 1);
  }

  void expect_output() const {
    const Array bias = noise(shape.k, 4), image_bias = noise(shape.n * shape.k, 5);
    const Array residual = noise(dy.size(), 6);
    const int64_t tile = tile_of(shape.h, shape.w);
    Array y(dy.size()), weights(winograd_weight_size(tile, shape.c, shape.k));
    winograd_weights(tile, w.data(), shape.c, shape.k, false, weights.data(), in_parts);
    winograd_conv(shape, {.x = {x.data()}}, weights.data(),
                  {bias.data(), image_bias.data(), residual.data()}, y.data(), in_parts);
    Numbers sums = residual.numbers();
    for (int64_t i = 0; i < y.size(); ++i)
      sums[i] += bias.data()[i % shape.k] +
                 image_bias.data()[i / (y.size() / shape.n) * shape.k + i % shape.k];
    each_product(shape, [&](int64_t to, int64_t at, int64_t tap) {
      sums[to] += double(x.data()[at]) * w.data()[tap];
    });
    expect_close(y, sums, kWinogradTolerance, "y");
  }

  void expect_filter_gradient() const {
    Array dw(w.size()), dbias(shape.n * shape.k);
    winograd_filter_gradient(shape, x.data(), dy.data(), dw.data(), dbias.data(), in_parts);
    Numbers of_images(dbias.size());
    for (int64_t i = 0; i < dy.size(); ++i)
      of_images[i / (dy.size() / shape.n) * shape.k + i % shape.k] += dy.data()[i];
    expect_close(dbias, of_images, 1e-6, "dbias");
    Numbers sums(dw.size());
    each_product(shape, [&](int64_t from, int64_t at, int64_t tap) {
      sums[tap] += double(dy.data()[from]) * x.data()[at];
    });
    expect_close(dw, sums, kWinogradTolerance, "dw");
  }

  // The convolution of dy with the flipped filter; what was upsampled is pooled.
  void expect_input_gradient() const {
    Conv3x3Shape back = shape;
    std::swap(back.c, back.k);
    if (shape.scale == ConvScale::kUpsampled) back.scale = ConvScale::kPooled;
    if (shape.scale == ConvScale::kPooled) back.scale = ConvScale::kUpsampled;
    const int64_t tile = tile_of(shape.h, shape.w);
    Array dx(x.size()), weights(winograd_weight_size(tile, back.c, back.k));
    winograd_weights(tile, w.data(), back.c, back.k, true, weights.data(), in_parts);
    winograd_conv(back, {.x = {dy.data()}}, weights.data(), {}, dx.data(), in_parts);
    Numbers sums(dx.size());
    each_product(shape, [&](int64_t from, int64_t at, int64_t tap) {
      sums[at] += double(dy.data()[from]) * w.data()[tap];
    });
    expect_close(dx, sums, kWinogradTolerance, "dx");
  }

  Conv3x3Shape shape;
  Array x, w, dy;
};

// Whole vectors and less, several blocks of tiles, several panels and chunks of channels.
TEST(PlainWinograd, AllScalesAndDirections) {
  for (const Conv3x3Shape& s :
       {Conv3x3Shape{2, 6, 8, 16, 32}, Conv3x3Shape{1, 4, 2, 1, 3}, Conv3x3Shape{3, 10, 6, 19, 37},
        Conv3x3Shape{1, 40, 20, 5, 6}, Conv3x3Shape{1, 6, 4, 70, 150}})
    for (const ConvScale scale : {ConvScale::kSame, ConvScale::kUpsampled, ConvScale::kPooled}) {
      SCOPED_TRACE(testing::Message() << s.c << " -> " << s.k << ", scale " << int(scale));
      Conv3x3Shape shape = s;
      shape.scale = scale;
      const Convolution conv(shape);
      conv.expect_output();
      conv.expect_input_gradient();
      if (scale != ConvScale::kPooled) conv.expect_filter_gradient();
    }
}

TEST(PlainWinograd, OddSizes) {
  for (const Conv3x3Shape& s : {Conv3x3Shape{1, 1, 1, 16, 16}, Conv3x3Shape{2, 7, 5, 21, 18}}) {
    const Convolution conv(s);
    conv.expect_output();
    conv.expect_input_gradient();
    conv.expect_filter_gradient();
  }
}

// act(a x + b) of images that lie in two arrays; the last one has enough tiles to do so row by row.
TEST(PlainWinograd, NormalisesOnTheWay) {
  for (const Conv3x3Shape& s : {Conv3x3Shape{2, 40, 30, 20, 18}, Conv3x3Shape{3, 5, 9, 33, 17},
                                Conv3x3Shape{100, 2, 3, 17, 5}, Conv3x3Shape{2, 90, 70, 17, 5}})
    for (const int64_t extra : {int64_t{0}, int64_t{1}, s.c - 2})
      for (const bool silu : {false, true}) {
        SCOPED_TRACE(testing::Message() << s.h << " rows, " << extra << " beside, SiLU " << silu);
        const Convolution conv(s);
        const auto [own, beside] = split(conv.x, s.c, extra);
        const Array line = noise(2 * s.n * s.c, 4);
        const int64_t tile = tile_of(s.h, s.w);
        Array y(conv.dy.size()), weights(winograd_weight_size(tile, s.c, s.k));
        winograd_weights(tile, conv.w.data(), s.c, s.k, false, weights.data(), in_parts);
        winograd_conv(s, {{own.data(), beside.data(), extra}, line.data(), silu}, weights.data(),
                      {}, y.data(), in_parts);
        Numbers sums(y.size());
        each_product(s, [&](int64_t to, int64_t at, int64_t tap) {
          const int64_t i = at / (s.h * s.w * s.c) * s.c + at % s.c;
          const double z = double(line.data()[i]) * conv.x.data()[at] + line.data()[s.n * s.c + i];
          sums[to] += (silu ? z / (1 + std::exp(-z)) : z) * conv.w.data()[tap];
        });
        expect_close(y, sums, kWinogradTolerance, "y");
      }
}

// --- normalisation -------------------------------------------------------------------------------

// What the kernels are given, and y.
struct Norm {
  NormShape shape;
  bool silu, scaled;
  Array x = noise(shape.n * shape.pixels * shape.c, 1), dy = noise(x.size(), 2);
  Array gamma = noise(shape.c, 3), beta = noise(shape.c, 4);
  Array scale = noise(shape.n * shape.c, 5), shift = noise(scale.size(), 6);

  Numbers y(const Numbers& of_x, const Numbers& of_gamma, const Numbers& of_beta) const {
    const auto& [n, pixels, c, groups] = shape;
    const int64_t width = c / groups;
    Numbers y(of_x.size());
    for (int64_t image = 0; image < n; ++image)
      for (int64_t g = 0; g < groups; ++g) {
        const auto each = [&](auto f) {
          for (int64_t p = 0; p < pixels; ++p)
            for (int64_t j = g * width; j < (g + 1) * width; ++j)
              f((image * pixels + p) * c + j, j);
        };
        double sum = 0, square = 0;
        each([&](int64_t i, int64_t) { sum += of_x[i]; });
        const double count = double(pixels * width), mean = sum / count;
        each([&](int64_t i, int64_t) { square += std::pow(of_x[i] - mean, 2); });
        each([&](int64_t i, int64_t j) {
          double z = (of_x[i] - mean) / std::sqrt(square / count + 1e-5) * of_gamma[j] + of_beta[j];
          if (scaled) z = z * (1 + scale.data()[image * c + j]) + shift.data()[image * c + j];
          y[i] = silu ? z / (1 + std::exp(-z)) : z;
        });
      }
    return y;
  }
};

TEST(PlainNorm, OutputAndGradients) {
  for (const NormShape& s : {NormShape{1, 34, 36, 9}, NormShape{2, 5, 6, 3},
                             NormShape{1, 3, 70, 35}, NormShape{1, 1, 4, 1}})
    for (const bool extras : {false, true}) {
      SCOPED_TRACE(testing::Message() << s.c << " channels, extras " << extras);
      const int64_t beside = extras ? s.c / 3 : 0;
      const Norm norm{s, extras, extras};
      const NormParameters p{.gamma = norm.gamma.data(),
                             .beta = norm.beta.data(),
                             .scale = extras ? norm.scale.data() : nullptr,
                             .shift = extras ? norm.shift.data() : nullptr,
                             .eps = 1e-5f,
                             .silu = extras};
      Array mean(s.n * s.groups), rstd(mean.size()), sums(2 * s.n * s.c);
      Array y(norm.x.size()), dz(norm.x.size()), line(2 * s.n * s.c);
      const auto [own, more] = split(norm.x, s.c, beside);
      Array down(own.size()), dmore(more.size());
      const Images<const float> in{own.data(), more.data(), beside};
      norm_statistics(s, in, p.eps, mean.data(), rstd.data(), in_parts);
      norm_line(s, p, mean.data(), rstd.data(), line.data());
      norm_apply(s, in, line.data(), p.silu, y.data(), in_parts);
      norm_backward(s, p, in, mean.data(), rstd.data(), norm.dy.data(), dz.data(),
                    {down.data(), dmore.data(), beside}, sums.data(), in_parts);

      const Numbers x = norm.x.numbers(), gamma = norm.gamma.numbers(), beta = norm.beta.numbers();
      expect_close(y, norm.y(x, gamma, beta), 1e-6, "y");
      const auto loss = [&](const Numbers& x, const Numbers& gamma, const Numbers& beta) {
        return dot(norm.y(x, gamma, beta), norm.dy);
      };
      Array dx(x.size());
      for (int64_t i = 0; i < dx.size(); ++i) {
        const int64_t pixel = i / s.c, c = i % s.c, first = s.c - beside;
        dx.data()[i] =
            c < first ? down.data()[pixel * first + c] : dmore.data()[pixel * beside + c - first];
      }
      expect_close(dx, gradient([&](auto& to) { return loss(to, gamma, beta); }, x), 2e-6, "dx");
      // Of each image: the gradients of shift and of gamma (1 + scale).
      Array dgamma(s.c), dbeta(s.c);
      for (int64_t i = 0; i < s.n * s.c; ++i) {
        const float factor = extras ? 1 + norm.scale.data()[i] : 1;
        dbeta.data()[i % s.c] += factor * sums.data()[i];
        dgamma.data()[i % s.c] += factor * sums.data()[s.n * s.c + i];
      }
      expect_close(dgamma, gradient([&](auto& to) { return loss(x, to, beta); }, gamma), 2e-6,
                   "dgamma");
      expect_close(dbeta, gradient([&](auto& to) { return loss(x, gamma, to); }, beta), 2e-6,
                   "dbeta");
    }
}

// --- attention -----------------------------------------------------------------------------------

// q, k and v are thirds of a token, [n,tokens,3,heads,dim].
Numbers attend(const AttentionShape& s, const Numbers& qkv) {
  const int64_t width = s.heads * s.dim;
  Numbers out(s.n * s.tokens * width);
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t h = 0; h < s.heads; ++h) {
      const auto at = [&](int64_t token, int64_t third) {
        return ((n * s.tokens + token) * 3 + third) * width + h * s.dim;
      };
      for (int64_t t = 0; t < s.tokens; ++t) {
        Numbers weights;
        double sum = 0;
        for (int64_t u = 0; u < s.tokens; ++u) {
          double score = 0;
          for (int64_t i = 0; i < s.dim; ++i) score += qkv[at(t, 0) + i] * qkv[at(u, 1) + i];
          weights.push_back(std::exp(score / std::sqrt(double(s.dim))));
          sum += weights.back();
        }
        for (int64_t u = 0; u < s.tokens; ++u)
          for (int64_t i = 0; i < s.dim; ++i)
            out[(n * s.tokens + t) * width + h * s.dim + i] += weights[u] / sum * qkv[at(u, 2) + i];
      }
    }
  return out;
}

TEST(PlainAttention, OutputAndGradients) {
  for (const AttentionShape& s : {AttentionShape{2, 2, 5, 4}, AttentionShape{1, 1, 35, 3},
                                  AttentionShape{1, 2, 16, 8}, AttentionShape{1, 1, 1, 1}}) {
    SCOPED_TRACE(testing::Message() << s.tokens << " tokens of " << s.dim);
    const int64_t width = s.heads * s.dim, size = s.n * s.tokens * width;
    const Array qkv = noise(3 * size, 1), dout = noise(size, 2);
    Array out(size), logsumexp(s.n * s.heads * s.tokens), dqkv(3 * size);
    const auto third = [&](auto* data, int64_t i) { return Tokens{data + i * width, 3 * width}; };
    const auto q = third(qkv.data(), 0), k = third(qkv.data(), 1), v = third(qkv.data(), 2);
    attention(s, q, k, v, {out.data(), width}, logsumexp.data(), in_parts);
    attention_backward(s, q, k, v, {out.data(), width}, logsumexp.data(), {dout.data(), width},
                       {third(dqkv.data(), 0), third(dqkv.data(), 1), third(dqkv.data(), 2)},
                       in_parts);

    const Numbers at = qkv.numbers();
    expect_close(out, attend(s, at), 1e-6, "out");
    expect_close(dqkv, gradient([&](const Numbers& x) { return dot(attend(s, x), dout); }, at),
                 2e-6, "dqkv");
  }
}

// --- linear layers -------------------------------------------------------------------------------

TEST(PlainMatmul, OutputAndGradients) {
  for (const MatmulShape& s : {MatmulShape{1, 1, 1}, MatmulShape{7, 16, 32},
                               MatmulShape{50, 5, 150}, MatmulShape{300, 70, 90}}) {
    SCOPED_TRACE(testing::Message() << s.rows << " rows, " << s.in << " -> " << s.out);
    const Array x = noise(s.rows * s.in, 1), w = noise(s.out * s.in, 2), bias = noise(s.out, 3);
    const Array residual = noise(s.rows * s.out, 4);
    Array packed(matmul_weight_size(s.in, s.out)), y(s.rows * s.out);
    matmul_weights(w.data(), {s.in, 1}, s.in, s.out, packed.data(), in_parts);
    const int64_t extra = s.in / 3;
    const auto [own, beside] = split(x, s.in, extra);
    matmul(s, {own.data(), beside.data(), extra}, packed.data(), bias.data(), residual.data(),
           y.data(), in_parts);
    Numbers sums = residual.numbers();
    for (int64_t i = 0; i < y.size(); ++i) {
      const float *row = x.data() + i / s.out * s.in, *column = w.data() + i % s.out * s.in;
      sums[i] += bias.data()[i % s.out];
      for (int64_t j = 0; j < s.in; ++j) sums[i] += double(row[j]) * column[j];
    }
    expect_close(y, sums, 1e-6, "y");

    const Array dy = noise(s.rows * s.out, 5);
    Array dw(w.size());
    matmul_weight_gradient(s, {own.data(), beside.data(), extra}, dy.data(), dw.data(), in_parts);
    Numbers products(dw.size());
    for (int64_t i = 0; i < dw.size(); ++i)
      for (int64_t r = 0; r < s.rows; ++r)
        products[i] += double(dy.data()[r * s.out + i / s.in]) * x.data()[r * s.in + i % s.in];
    expect_close(dw, products, 1e-6, "dw");
    // dx = dy w, in two parts too.
    Array back(matmul_weight_size(s.out, s.in)), dx(x.size());
    matmul_weights(w.data(), {1, s.in}, s.out, s.in, back.data(), in_parts);
    matmul({s.rows, s.out, s.in}, {dy.data()}, back.data(), nullptr, nullptr, dx.data(), in_parts);
    Numbers of_x(dx.size());
    for (int64_t i = 0; i < dx.size(); ++i)
      for (int64_t k = 0; k < s.out; ++k)
        of_x[i] += double(dy.data()[i / s.in * s.out + k]) * w.data()[k * s.in + i % s.in];
    expect_close(dx, of_x, 1e-6, "dx");
  }
}

// --- AdamW ---------------------------------------------------------------------------------------

// Loshchilov & Hutter 2019, Alg. 2, number by number.
TEST(PlainAdamW, FollowsTheEquations) {
  constexpr double kRate = 3e-3, kBeta1 = 0.9, kBeta2 = 0.99, kDecay = 0.05, kMean = 0.7;
  for (const int64_t size : {1, 3, 16, 21, 16384 + 5}) {
    SCOPED_TRACE(size);
    const Array start = noise(size, 1), g = noise(size, 2);
    Array p(size), m(size), v(size), e(size);
    std::memcpy(p.data(), start.data(), size * sizeof(float));
    std::memcpy(e.data(), start.data(), size * sizeof(float));
    const AdamWTensor tensor{size, p.data(), g.data(), m.data(), v.data(), e.data()};
    Numbers rp = start.numbers(), rm(size), rv(size), re = rp;
    double squares = 0;
    for (int64_t k = 1; k <= 3; ++k) {
      adamw({&tensor, 1}, {kRate, kBeta1, kBeta2, kDecay, 1e-8, k, 0.5, kMean}, in_parts);
      for (int64_t i = 0; i < size; ++i) {
        const double s = 0.5 * g.data()[i];
        rm[i] = kBeta1 * rm[i] + (1 - kBeta1) * s;
        rv[i] = kBeta2 * rv[i] + (1 - kBeta2) * s * s;
        const double m_hat = rm[i] / (1 - std::pow(kBeta1, k));
        const double v_hat = rv[i] / (1 - std::pow(kBeta2, k));
        rp[i] -= kRate * kDecay * rp[i] + kRate * m_hat / (std::sqrt(v_hat) + 1e-8);
        re[i] = kMean * re[i] + (1 - kMean) * rp[i];
        if (k == 1) squares += 4 * s * s;
      }
    }
    expect_close(p, rp, 1e-6, "p");
    expect_close(m, rm, 1e-6, "m");
    expect_close(v, rv, 1e-6, "v");
    expect_close(e, re, 1e-6, "e");
    EXPECT_NEAR(gradient_norm({&tensor, 1}, in_parts) / std::sqrt(squares), 1, 1e-12);
  }
}

}  // namespace
}  // namespace tweedie::kernels

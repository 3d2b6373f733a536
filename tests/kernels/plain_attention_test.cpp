#include "tweedie/kernels/attention.h"

#include <cmath>
#include <functional>

#include "tests/kernels/plain.h"

namespace tweedie::kernels {
namespace {

using namespace plain;

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

}  // namespace
}  // namespace tweedie::kernels

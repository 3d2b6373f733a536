#include "tweedie/kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "tweedie/kernels/scratch.h"

// This file is compiled once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tweedie/kernels/attention.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

#include "tweedie/kernels/exp-inl.h"
#include "tweedie/kernels/gemm-inl.h"

#ifndef TWEEDIE_KERNELS_ATTENTION_ONCE
#define TWEEDIE_KERNELS_ATTENTION_ONCE
namespace tweedie::kernels {

// A panel of 32 tokens of one head of one image.
struct HeadPanel {
  HeadPanel(const AttentionShape& s, int64_t item)
      : n(item / panels_of(s.tokens) / s.heads),
        head(item / panels_of(s.tokens) % s.heads),
        first(item % panels_of(s.tokens) * kPanel),
        count(std::min(kPanel, s.tokens - first)) {}
  int64_t n, head, first, count;

  // The head's components of token 0.
  template <class T>
  T* in(const AttentionShape& s, const Tokens<T>& t) const {
    return t.data + n * s.tokens * t.stride + head * s.dim;
  }
  int64_t row(const AttentionShape& s) const { return (n * s.heads + head) * s.tokens; }
};

// The panel's tokens as columns: [dim][32], times `factor`; the missing ones are zero.
inline void pack(const AttentionShape& s, const HeadPanel& p, const Tokens<const float>& from,
                 float factor, float* out) {
  const float* in = p.in(s, from) + p.first * from.stride;
  if (p.count < kPanel) std::fill_n(out, s.dim * kPanel, 0.0f);
  for (int64_t t = 0; t < p.count; ++t)
    for (int64_t i = 0; i < s.dim; ++i) out[i * kPanel + t] = factor * in[t * from.stride + i];
}

// The panel's tokens as rows, times `factor`: [32][32] for every 32 components, those behind the
// last zero. The rows of missing tokens are left as they are.
inline void pack_rows(const AttentionShape& s, const HeadPanel& p, const Tokens<const float>& from,
                      float factor, float* out) {
  const float* in = p.in(s, from) + p.first * from.stride;
  for (int64_t first = 0; first < s.dim; first += kPanel, out += kPanel * kPanel)
    for (int64_t t = 0; t < p.count; ++t)
      for (int64_t i = 0; i < kPanel; ++i)
        out[t * kPanel + i] = first + i < s.dim ? factor * in[t * from.stride + first + i] : 0;
}

// Back, column t times factors[t].
inline void unpack(const AttentionShape& s, const HeadPanel& p, const float* in,
                   const float* factors, const Tokens<float>& to) {
  float* out = p.in(s, to) + p.first * to.stride;
  for (int64_t t = 0; t < p.count; ++t)
    for (int64_t i = 0; i < s.dim; ++i) out[t * to.stride + i] = factors[t] * in[i * kPanel + t];
}

}  // namespace tweedie::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace tweedie::kernels::HWY_NAMESPACE {

// Tokens as the rows of a matrix, and as its columns.
HWY_INLINE GemmA rows_of(const float* data, int64_t stride) { return {data, stride, 1}; }
HWY_INLINE GemmA columns_of(const float* data, int64_t stride) { return {data, 1, stride}; }

// scores [tokens][32] = `rows` times the packed columns.
HWY_INLINE void products(const AttentionShape& s, const HeadPanel& p, const GemmA& rows,
                         const float* packed, float* scores) {
  multiply(p.count, {.rows = s.tokens, .depth = s.dim}, rows, {packed, kPanel}, {scores, kPanel},
           false);
}

// [dim][32] = `columns` times scores.
HWY_INLINE void combine(const AttentionShape& s, const HeadPanel& p, const GemmA& columns,
                        const float* scores, float* out) {
  multiply(p.count, {.rows = s.dim, .depth = s.tokens}, columns, {scores, kPanel}, {out, kPanel},
           false);
}

// scores -> exp(scores - the column's maximum); the columns' sums and, where wanted, ln(sum exp).
HWY_INLINE void softmax(int64_t tokens, int64_t count, float* scores, float* sums,
                        float* logsumexp) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  HWY_ALIGN float most[kPanel];
  for (int64_t i = 0; i < count; i += lanes) {
    auto top = hn::Load(d, scores + i);
    for (int64_t t = 1; t < tokens; ++t) top = hn::Max(top, hn::Load(d, scores + t * kPanel + i));
    auto sum = hn::Zero(d);
    for (int64_t t = 0; t < tokens; ++t) {
      float* p = scores + t * kPanel + i;
      const auto e = exp(hn::Sub(hn::Load(d, p), top));
      hn::Store(e, d, p);
      sum = hn::Add(sum, e);
    }
    hn::Store(sum, d, sums + i), hn::Store(top, d, most + i);
  }
  if (logsumexp)
    for (int64_t t = 0; t < count; ++t) logsumexp[t] = most[t] + std::log(sums[t]);
}

void Forward(const AttentionShape& s, Tokens<const float> q, Tokens<const float> k,
             Tokens<const float> v, Tokens<float> out, float* logsumexp,
             const ParallelFor& parallel) {
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  parallel(s.n * s.heads * panels_of(s.tokens), [&](int64_t begin, int64_t end) {
    float* packed = scratch(0, s.dim * kPanel);
    float* scores = scratch(1, s.tokens * kPanel);
    HWY_ALIGN float sums[kPanel];
    for (int64_t item = begin; item < end; ++item) {
      const HeadPanel p(s, item);
      pack(s, p, q, scale, packed);
      products(s, p, rows_of(p.in(s, k), k.stride), packed, scores);
      softmax(s.tokens, p.count, scores, sums,
              logsumexp ? logsumexp + p.row(s) + p.first : nullptr);
      combine(s, p, columns_of(p.in(s, v), v.stride), scores, packed);
      for (int64_t t = 0; t < p.count; ++t) sums[t] = 1 / sums[t];
      unpack(s, p, packed, sums, out);
    }
  });
}

// What the keys of one head share: its queries' delta = sum(dout * out), and dq as it grows, in
// panels [tokens][32] of its components.
struct Queries {
  float *delta, *dq;
};

// Of one panel of keys: dk, dv and what it adds to dq. The columns are keys and the rows queries.
void KeyGradient(const AttentionShape& s, const HeadPanel& p, Tokens<const float> q,
                 Tokens<const float> k, Tokens<const float> v, const float* logsumexp,
                 Tokens<const float> dout, Tokens<float> dk, Tokens<float> dv,
                 const Queries& queries) {
  const D d;
  const int64_t lanes = hn::Lanes(d);
  const float scale = 1 / std::sqrt(static_cast<float>(s.dim));
  float* packed = scratch(0, panels_of(s.dim) * kPanel * kPanel);
  float* scores = scratch(1, s.tokens * kPanel);
  float* dscores = scratch(2, s.tokens * kPanel);
  HWY_ALIGN float factors[kPanel];
  pack(s, p, k, scale, packed);
  products(s, p, rows_of(p.in(s, q), q.stride), packed, scores);
  pack(s, p, v, 1, packed);
  products(s, p, rows_of(p.in(s, dout), dout.stride), packed, dscores);
  for (int64_t t = 0; t < s.tokens; ++t) {
    const auto lse = hn::Set(d, logsumexp[p.row(s) + t]), sum = hn::Set(d, queries.delta[t]);
    for (int64_t i = 0; i < p.count; i += lanes) {
      float* at = scores + t * kPanel + i;
      float* dat = dscores + t * kPanel + i;
      const auto e = exp(hn::Sub(hn::Load(d, at), lse));
      hn::Store(hn::Mul(e, hn::Sub(hn::Load(d, dat), sum)), d, dat);
      hn::Store(e, d, at);
    }
  }
  combine(s, p, columns_of(p.in(s, dout), dout.stride), scores, packed);
  std::fill_n(factors, kPanel, 1.0f);
  unpack(s, p, packed, factors, dv);
  combine(s, p, columns_of(p.in(s, q), q.stride), dscores, packed);
  std::fill_n(factors, kPanel, scale);
  unpack(s, p, packed, factors, dk);
  pack_rows(s, p, k, scale, packed);
  for (int64_t i = 0; i < panels_of(s.dim); ++i)
    multiply(s.dim - i * kPanel, {.rows = s.tokens, .depth = p.count}, rows_of(dscores, kPanel),
             {packed + i * kPanel * kPanel, kPanel}, {queries.dq + i * s.tokens * kPanel, kPanel},
             p.first > 0);
}

void Backward(const AttentionShape& s, Tokens<const float> q, Tokens<const float> k,
              Tokens<const float> v, Tokens<const float> out, const float* logsumexp,
              Tokens<const float> dout, const AttentionGradients& gradients,
              const ParallelFor& parallel) {
  const int64_t panels = panels_of(s.tokens);
  parallel(s.n * s.heads, [&](int64_t begin, int64_t end) {
    // delta lies behind dq.
    float* dq = scratch(3, (panels_of(s.dim) * s.tokens + panels) * kPanel);
    const Queries queries{dq + panels_of(s.dim) * s.tokens * kPanel, dq};
    for (int64_t item = begin; item < end; ++item) {
      const HeadPanel head(s, item * panels);
      for (int64_t t = 0; t < s.tokens; ++t) {
        const float* o = head.in(s, out) + t * out.stride;
        const float* g = head.in(s, dout) + t * dout.stride;
        double sum = 0;
        for (int64_t i = 0; i < s.dim; ++i) sum += double(o[i]) * g[i];
        queries.delta[t] = static_cast<float>(sum);
      }
      for (int64_t panel = 0; panel < panels; ++panel)
        KeyGradient(s, HeadPanel(s, item * panels + panel), q, k, v, logsumexp, dout, gradients.k,
                    gradients.v, queries);
      for (int64_t t = 0; t < s.tokens; ++t)
        for (int64_t i = 0; i < s.dim; i += kPanel)
          std::copy_n(dq + i * s.tokens + t * kPanel, std::min(kPanel, s.dim - i),
                      head.in(s, gradients.q) + t * gradients.q.stride + i);
    }
  });
}

}  // namespace tweedie::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tweedie::kernels {

HWY_EXPORT(Forward);
HWY_EXPORT(Backward);

void attention(const AttentionShape& shape, Tokens<const float> q, Tokens<const float> k,
               Tokens<const float> v, Tokens<float> out, float* logsumexp,
               const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Forward)(shape, q, k, v, out, logsumexp, parallel);
}

void attention_backward(const AttentionShape& shape, Tokens<const float> q, Tokens<const float> k,
                        Tokens<const float> v, Tokens<const float> out, const float* logsumexp,
                        Tokens<const float> dout, const AttentionGradients& gradients,
                        const ParallelFor& parallel) {
  HWY_DYNAMIC_DISPATCH(Backward)
  (shape, q, k, v, out, logsumexp, dout, gradients, parallel);
}

}  // namespace tweedie::kernels
#endif

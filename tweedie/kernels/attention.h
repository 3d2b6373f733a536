// softmax(q k' / sqrt(dim)) v in float32 on plain pointers (Vaswani et al. 2017, Eq. 1). Scores are
// kept for 32 queries at a time; the backward pass computes them again (Dao et al. 2022, arXiv
// 2205.14135). What is computed for an image depends neither on the batch nor on the threads.
#pragma once
#include <cstdint>

#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

struct AttentionShape {
  int64_t n, heads, tokens, dim;
};

/// [n,tokens,heads,dim] in memory where a token begins every `stride` floats.
template <class T>
struct Tokens {
  T* data;
  int64_t stride;
};

/// out = softmax(q k' / sqrt(dim)) v. `logsumexp` [n,heads,tokens] receives what the backward pass
/// needs; null: nothing.
void attention(const AttentionShape& shape, Tokens<const float> q, Tokens<const float> k,
               Tokens<const float> v, Tokens<float> out, float* logsumexp,
               const ParallelFor& parallel);

/// The gradients of q, k and v from that of out, `dout`. Each head is the work of one thread.
struct AttentionGradients {
  Tokens<float> q, k, v;
};
void attention_backward(const AttentionShape& shape, Tokens<const float> q, Tokens<const float> k,
                        Tokens<const float> v, Tokens<const float> out, const float* logsumexp,
                        Tokens<const float> dout, const AttentionGradients& gradients,
                        const ParallelFor& parallel);

}  // namespace tweedie::kernels

// Self-attention on tensors, with gradients.
#pragma once
#include <ATen/core/Tensor.h>

namespace tweedie {

using at::Tensor;

/// qkv [N,tokens,3*heads*dim]: a token's queries of all heads, then its keys, then its values ->
/// [N,tokens,heads*dim]: softmax(q k' / sqrt(dim)) v of every head. By kernels/attention.h in
/// float32 on a CPU without autocast, else by at::scaled_dot_product_attention, and so are second
/// derivatives.
Tensor self_attention(const Tensor& qkv, int64_t heads);

}  // namespace tweedie

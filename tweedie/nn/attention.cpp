#include "tweedie/nn/attention.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/nn/modules/container/modulelist.h>

#include "tweedie/kernels/self_attention.h"

namespace tweedie {

AttentionImpl::AttentionImpl(const AttentionOptions& o)
    : options_(o), heads_(o.channels / o.head_dim) {
  const int64_t inner = heads_ * o.head_dim;
  if (o.groups) group_norm = register_module("group_norm", GroupNorm(*o.groups, o.channels, o.eps));
  to_q = register_module("to_q", Linear(o.channels, inner));
  to_k = register_module("to_k", Linear(o.channels, inner));
  to_v = register_module("to_v", Linear(o.channels, inner));
  to_out = Linear(inner, o.channels);
  register_module("to_out", torch::nn::ModuleList())->push_back(to_out);
}

Tensor AttentionImpl::forward(const Tensor& x) const {
  RECORD_FUNCTION("tweedie::attention", std::vector<c10::IValue>({x, to_q->weight, heads_}));
  const Tensor h = group_norm ? group_norm->forward(x) : x;
  const int64_t n = x.size(0), height = x.size(2), width = x.size(3);
  const auto rows = [n](const Tensor& t) {  // [N,HW,C]
    return t.permute({0, 2, 3, 1}).reshape({n, -1, t.size(1)});
  };
  // One product for q, k and v: [N,HW,3*heads*d].
  const Tensor qkv = linear(rows(h), {}, {to_q->weight, to_k->weight, to_v->weight},
                            {to_q->bias, to_k->bias, to_v->bias}, {}, qkv_);
  const Tensor sum = to_out->forward(self_attention(qkv, heads_), rows(x))
                         .view({n, height, width, -1})
                         .permute({0, 3, 1, 2});
  return options_.output_scale == 1 ? sum : sum / options_.output_scale;
}

}  // namespace tweedie

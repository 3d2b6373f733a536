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
  const Tensor tokens = h.flatten(2).transpose(1, 2).contiguous();  // [N,HW,C]

  // One product for q, k and v: [N,HW,3*heads*d].
  const Tensor weight = at::cat({to_q->weight, to_k->weight, to_v->weight});
  const Tensor bias = at::cat({to_q->bias, to_k->bias, to_v->bias});
  const Tensor mixed = self_attention(at::linear(tokens, weight, bias), heads_);
  const Tensor out = to_out->forward(mixed).transpose(1, 2).view_as(x);

  const Tensor sum = at::GradMode::is_enabled() ? x + out : x.add_(out);
  return options_.output_scale == 1 ? sum : sum.div_(options_.output_scale);
}

}  // namespace tweedie

// What the fused functions of autograd share.
#pragma once
#include <torch/csrc/autograd/autograd.h>

#include <optional>

namespace tweedie {

/// An argument of a function of autograd that may be missing.
using MaybeTensor = std::optional<at::Tensor>;
inline MaybeTensor maybe(const at::Tensor& t) {
  return t.defined() ? MaybeTensor(t) : std::nullopt;
}
inline at::Tensor or_undefined(const MaybeTensor& t) { return t.value_or(at::Tensor()); }

/// The gradients of y = `stock`(), as tensors that can be derived again: for the backward pass of a
/// fused function under create_graph. y is computed from `inputs`, of which undefined ones and
/// those that need no gradient stay without.
template <class Stock>
torch::autograd::variable_list derivable_gradients(const torch::autograd::variable_list& inputs,
                                                   const at::Tensor& dy, Stock&& stock) {
  torch::autograd::variable_list wanted;
  for (const at::Tensor& input : inputs)
    if (input.defined() && input.requires_grad()) wanted.push_back(input);
  if (wanted.empty()) return torch::autograd::variable_list(inputs.size());
  const at::Tensor y = stock();
  const auto found = torch::autograd::grad({y}, wanted, {dy}, /*retain_graph=*/true,
                                           /*create_graph=*/true, /*allow_unused=*/true);
  torch::autograd::variable_list out(inputs.size());
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) out[i] = found[next++];
  return out;
}

}  // namespace tweedie

#include "tweedie/kernels/self_attention.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/again.h"
#include "tweedie/kernels/attention.h"
#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

using kernels::Tokens;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::AttentionShape shape_of(const Tensor& qkv, int64_t heads) {
  return {qkv.size(0), heads, qkv.size(1), qkv.size(2) / 3 / heads};
}

// Of the two products.
double direct_flop(const Tensor& qkv) {
  return 4.0 / 3 * double(qkv.numel()) * double(qkv.size(1));
}

// The queries, keys or values (0, 1, 2) in memory.
template <class T>
Tokens<T> part(const Tensor& qkv, int which) {
  return {qkv.data_ptr<float>() + which * (qkv.size(2) / 3), qkv.size(2)};
}

Tensor stock(const Tensor& qkv, int64_t heads) {
  const auto parts = qkv.view({qkv.size(0), qkv.size(1), 3, heads, qkv.size(2) / 3 / heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  return at::scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2).flatten(2);
}

Tensor run(const Tensor& qkv, int64_t heads, float* logsumexp) {
  RECORD_FUNCTION("tweedie::self_attention", flop(direct_flop(qkv)));
  Tensor out = at::empty({qkv.size(0), qkv.size(1), qkv.size(2) / 3}, qkv.options());
  kernels::attention(shape_of(qkv, heads), part<const float>(qkv, 0), part<const float>(qkv, 1),
                     part<const float>(qkv, 2), {out.data_ptr<float>(), out.size(2)}, logsumexp,
                     kernels::on_torch_threads);
  return out;
}

struct Attend : torch::autograd::Function<Attend> {
  static Tensor forward(AutogradContext* ctx, const Tensor& qkv, int64_t heads) {
    const Tensor logsumexp = at::empty({qkv.size(0), heads, qkv.size(1)}, qkv.options());
    const Tensor out = run(qkv, heads, logsumexp.data_ptr<float>());
    ctx->save_for_backward({qkv, out, logsumexp});
    ctx->saved_data["heads"] = heads;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list v = ctx->get_saved_variables();
    const Tensor &qkv = v[0], &out = v[1];
    const int64_t heads = ctx->saved_data["heads"].toInt();
    if (at::GradMode::is_enabled()) {
      variable_list d = derivable_gradients({qkv}, gradients[0], [&] { return stock(qkv, heads); });
      return {d[0], Tensor()};
    }
    RECORD_FUNCTION("tweedie::self_attention_backward", flop(2 * direct_flop(qkv)));
    const Tensor dout = gradients[0].contiguous(), dqkv = at::empty_like(qkv);
    kernels::attention_backward(shape_of(qkv, heads), part<const float>(qkv, 0),
                                part<const float>(qkv, 1), part<const float>(qkv, 2),
                                {out.data_ptr<float>(), out.size(2)}, v[2].data_ptr<float>(),
                                {dout.data_ptr<float>(), dout.size(2)},
                                {part<float>(dqkv, 0), part<float>(dqkv, 1), part<float>(dqkv, 2)},
                                kernels::on_torch_threads);
    return {dqkv, Tensor()};
  }
};

}  // namespace

Tensor self_attention(const Tensor& qkv, int64_t heads) {
  TORCH_CHECK(qkv.dim() == 3 && heads > 0 && qkv.size(2) % (3 * heads) == 0, "qkv is ", qkv.sizes(),
              " with ", heads, " heads");
  if (!qkv.is_cpu() || qkv.scalar_type() != at::kFloat || qkv.numel() == 0 ||
      at::autocast::is_autocast_enabled(at::kCPU))
    return stock(qkv, heads);
  const Tensor rows = qkv.contiguous();
  return at::GradMode::is_enabled() ? Attend::apply(rows, heads) : run(rows, heads, nullptr);
}

}  // namespace tweedie

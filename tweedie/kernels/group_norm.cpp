#include "tweedie/kernels/group_norm.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "tweedie/kernels/again.h"
#include "tweedie/kernels/norm.h"
#include "tweedie/kernels/record.h"

namespace tweedie {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::NormShape shape_of(const Tensor& x, const Tensor& beside, const GroupNormArgs& args) {
  const int64_t extra = beside.defined() ? beside.size(1) : 0;
  return {x.size(0), x.numel() / (x.size(0) * x.size(1)), x.size(1) + extra, args.groups};
}

template <class T>
kernels::Images<T> images(const Tensor& x, const Tensor& beside) {
  if (!beside.defined()) return {x.data_ptr<float>()};
  return {x.data_ptr<float>(), beside.data_ptr<float>(), beside.size(1)};
}

// Contiguous copies live as long as the pointers to them.
struct Pointers {
  explicit Pointers(const GroupNormArgs& a)
      : gamma(a.weight.contiguous()), beta(a.bias.contiguous()) {
    if (a.scale.defined()) scale = a.scale.contiguous(), shift = a.shift.contiguous();
    parameters = {.gamma = gamma.data_ptr<float>(),
                  .beta = beta.data_ptr<float>(),
                  .scale = scale.defined() ? scale.data_ptr<float>() : nullptr,
                  .shift = shift.defined() ? shift.data_ptr<float>() : nullptr,
                  .eps = static_cast<float>(a.eps),
                  .silu = a.silu};
  }
  Tensor gamma, beta, scale, shift;
  kernels::NormParameters parameters;
};

// The result, and what was found of x.
Tensor normalise(const Tensor& x, const GroupNormArgs& args, GroupNormStatistics* s) {
  RECORD_FUNCTION("tweedie::group_norm", flop(0));
  const Pointers p(args);
  s->mean = at::empty({x.size(0), args.groups}, x.options()), s->rstd = at::empty_like(s->mean);
  Tensor y = at::empty_like(x);
  kernels::norm_forward(shape_of(x, {}, args), p.parameters, x.data_ptr<float>(),
                        s->mean.data_ptr<float>(), s->rstd.data_ptr<float>(), y.data_ptr<float>(),
                        kernels::on_torch_threads);
  return y;
}

struct Fused : torch::autograd::Function<Fused> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const Tensor& bias, const MaybeTensor& scale, const MaybeTensor& shift,
                        int64_t groups, double eps, bool silu) {
    const GroupNormArgs args{
        groups, eps, weight, bias, silu, or_undefined(scale), or_undefined(shift)};
    GroupNormStatistics s;
    const Tensor y = normalise(x, args, &s);
    ctx->save_for_backward({x, weight, bias, args.scale, args.shift, s.mean, s.rstd});
    ctx->saved_data["groups"] = groups;
    ctx->saved_data["eps"] = eps;
    ctx->saved_data["silu"] = silu;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list v = ctx->get_saved_variables();
    const GroupNormArgs args{ctx->saved_data["groups"].toInt(),
                             ctx->saved_data["eps"].toDouble(),
                             v[1],
                             v[2],
                             ctx->saved_data["silu"].toBool(),
                             v[3],
                             v[4]};
    variable_list out;
    if (at::GradMode::is_enabled()) {
      out = derivable_gradients({v[0], v[1], v[2], v[3], v[4]}, gradients[0],
                                [&] { return stock_group_norm(v[0], args); });
    } else {
      const GroupNormGradients g =
          group_norm_gradients(v[0], {}, args, {v[5], v[6]}, gradients[0], /*reuse=*/false);
      out = {g.x, g.weight, g.bias, g.scale, g.shift};
    }
    out.resize(8);
    return out;
  }
};

}  // namespace

bool runs_on_kernels(const Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 4 && x.numel() > 0 &&
         !at::autocast::is_autocast_enabled(at::kCPU);
}

Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

GroupNormStatistics group_norm_statistics(const Tensor& x, const Tensor& beside,
                                          const GroupNormArgs& args) {
  RECORD_FUNCTION("tweedie::group_norm_statistics", flop(0));
  const Tensor mean = at::empty({x.size(0), args.groups}, x.options()), rstd = at::empty_like(mean);
  kernels::norm_statistics(shape_of(x, beside, args), images<const float>(x, beside),
                           static_cast<float>(args.eps), mean.data_ptr<float>(),
                           rstd.data_ptr<float>(), kernels::on_torch_threads);
  return {mean, rstd};
}

Tensor group_norm_line(const GroupNormArgs& args, const GroupNormStatistics& s) {
  const Pointers p(args);
  const int64_t n = s.mean.size(0), c = args.weight.size(0);
  Tensor line = at::empty({2, n, c}, s.mean.options());
  kernels::norm_line({n, 0, c, args.groups}, p.parameters, s.mean.data_ptr<float>(),
                     s.rstd.data_ptr<float>(), line.data_ptr<float>());
  return line;
}

Tensor group_norm_apply(const Tensor& x, const Tensor& beside, const GroupNormArgs& args,
                        const GroupNormStatistics& s) {
  RECORD_FUNCTION("tweedie::group_norm", flop(0));
  const kernels::NormShape shape = shape_of(x, beside, args);
  Tensor y = at::empty({x.size(0), shape.c, x.size(2), x.size(3)},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  kernels::norm_apply(shape, images<const float>(x, beside),
                      group_norm_line(args, s).data_ptr<float>(), args.silu, y.data_ptr<float>(),
                      kernels::on_torch_threads);
  return y;
}

GroupNormGradients group_norm_gradients(const Tensor& x, const Tensor& beside,
                                        const GroupNormArgs& args, const GroupNormStatistics& s,
                                        const Tensor& dy_any, bool reuse) {
  RECORD_FUNCTION("tweedie::group_norm_backward", flop(0));
  const Pointers p(args);
  const kernels::NormShape shape = shape_of(x, beside, args);
  const Tensor dy = channels_last(dy_any);
  const Tensor dz_all = reuse || !dy.is_same(dy_any) ? dy : at::empty_like(dy);
  const Tensor sums = at::empty({2, shape.n, shape.c}, x.options());
  GroupNormGradients out;
  if (beside.defined()) {
    out.x = at::empty_like(x), out.beside = at::empty_like(beside);
  } else {
    out.x = dz_all;
  }
  kernels::norm_backward(shape, p.parameters, images<const float>(x, beside),
                         s.mean.data_ptr<float>(), s.rstd.data_ptr<float>(), dy.data_ptr<float>(),
                         dz_all.data_ptr<float>(), images<float>(out.x, out.beside),
                         sums.data_ptr<float>(), kernels::on_torch_threads);
  const Tensor dz = sums[0], dz_x = sums[1];
  if (!args.scale.defined()) {
    out.weight = dz_x.sum(0), out.bias = dz.sum(0);
  } else {
    const Tensor factor = args.scale + 1;
    out.weight = (dz_x * factor).sum(0), out.bias = (dz * factor).sum(0);
    out.scale = at::addcmul(dz * args.bias, dz_x, args.weight), out.shift = dz;
  }
  return out;
}

Tensor stock_group_norm(const Tensor& x, const GroupNormArgs& args) {
  Tensor y = at::group_norm(x, args.groups, args.weight, args.bias, args.eps);
  if (args.scale.defined()) {
    std::vector<int64_t> image(x.dim(), 1);
    image[0] = x.size(0), image[1] = x.size(1);
    y = at::addcmul(args.shift.reshape(image), y, args.scale.reshape(image) + 1);
  }
  if (!args.silu) return y;
  return at::GradMode::is_enabled() ? at::silu(y) : at::silu_(y);
}

Tensor group_norm(const Tensor& x, const GroupNormArgs& a) {
  if (!runs_on_kernels(x) || a.weight.scalar_type() != at::kFloat) return stock_group_norm(x, a);
  const Tensor last = channels_last(x);
  GroupNormStatistics statistics;
  if (!at::GradMode::is_enabled()) return normalise(last, a, &statistics);
  return Fused::apply(last, a.weight, a.bias, maybe(a.scale), maybe(a.shift), a.groups, a.eps,
                      a.silu);
}

}  // namespace tweedie

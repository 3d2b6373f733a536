#include "tweedie/kernels/conv.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <bit>

#include "tweedie/kernels/again.h"
#include "tweedie/kernels/conv_patches.h"
#include "tweedie/kernels/record.h"
#include "tweedie/kernels/winograd.h"

namespace tweedie {
namespace {

using kernels::Conv3x3Shape;
using kernels::ConvScale;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// The filter [out,in,3,3] transformed for such tiles; with `flip` that of the input's gradient.
Tensor transformed(const Tensor& weight, int64_t tile, bool flip) {
  RECORD_FUNCTION("tweedie::conv3x3_filter", flop(0));
  const int64_t c = weight.size(flip ? 0 : 1), k = weight.size(flip ? 1 : 0);
  const Tensor from = channels_last(weight);
  Tensor to = at::empty({kernels::winograd_weight_size(tile, c, k)}, weight.options());
  kernels::winograd_weights(tile, from.data_ptr<float>(), c, k, flip, to.data_ptr<float>(),
                            kernels::on_torch_threads);
  return to;
}

int64_t tile_under(const Tensor& x, bool upsample) {
  const int64_t scale = upsample ? 2 : 1;
  return kernels::tile_of(scale * x.size(2), scale * x.size(3));
}

// `larger` is the one of input and output that has the convolution's size.
Conv3x3Shape shape_of(const Tensor& larger, int64_t in, int64_t out, ConvScale scale) {
  return {larger.size(0), larger.size(2), larger.size(3), in, out, scale};
}

// From an input or an output in the convolution's size and the filter.
double direct_flop(const Tensor& larger, const Tensor& weight) {
  return 2.0 * double(larger.numel() / larger.size(1)) * double(weight.numel());
}

const float* pointer(const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; }

kernels::ConvInput input_of(const Tensor& x, const Tensor& beside = {}) {
  if (!beside.defined()) return {.x = {x.data_ptr<float>()}};
  return {.x = {x.data_ptr<float>(), beside.data_ptr<float>(), beside.size(1)}};
}

// Convolves `input`, whose first array is x.
Tensor run(const Tensor& x, const kernels::ConvInput& input, const Tensor& filter, int64_t out,
           ConvScale scale, const Tensor& bias = {}, const Tensor& image_bias = {},
           const Tensor& residual = {}) {
  const auto scaled = [&](int64_t side) {
    return scale == ConvScale::kUpsampled ? 2 * side
           : scale == ConvScale::kPooled  ? side / 2
                                          : side;
  };
  Tensor y = at::empty({x.size(0), out, scaled(x.size(2)), scaled(x.size(3))},
                       x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const Tensor& larger = scale == ConvScale::kUpsampled ? y : x;
  kernels::winograd_conv(
      shape_of(larger, x.size(1) + input.x.beside_channels, out, scale), input,
      filter.data_ptr<float>(),
      {.bias = pointer(bias), .image_bias = pointer(image_bias), .residual = pointer(residual)},
      y.data_ptr<float>(), kernels::on_torch_threads);
  return y;
}

Tensor input_gradient(const Tensor& dy, const Tensor& weight, bool upsampled) {
  RECORD_FUNCTION("tweedie::conv3x3_backward", flop(direct_flop(dy, weight)));
  return run(dy, input_of(dy), transformed(weight, tile_under(dy, false), true), weight.size(1),
             upsampled ? ConvScale::kPooled : ConvScale::kSame);
}

Tensor joined(const Tensor& x, const Tensor& beside) {
  return beside.defined() ? at::cat({x, beside}, 1) : x;
}

Tensor stock(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvExtras& e) {
  Tensor h = joined(x, e.beside);
  if (e.norm) h = stock_group_norm(h, *e.norm);
  if (e.upsample) h = at::upsample_nearest2d(h, {2 * h.size(2), 2 * h.size(3)}, 2.0, 2.0);
  // A convolution's output is no part of what its backward needs: sums may be taken in place.
  WeightCache none;
  Tensor y = conv_patches(h, weight, bias, 1, 1, e.cache ? e.cache->patches() : none);
  if (e.image_bias.defined()) y.add_(e.image_bias.unsqueeze(-1).unsqueeze(-1));
  if (e.residual.defined()) y.add_(e.residual);
  return y;
}

// x and `beside` are channels last, and `beside` is there with a normalisation only.
Tensor compute(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvExtras& e,
               const Tensor& filter, GroupNormStatistics* statistics) {
  const auto plain = [](const Tensor& t) { return t.defined() ? t.contiguous() : t; };
  const auto last = [](const Tensor& t) { return t.defined() ? channels_last(t) : t; };
  Tensor from = x, line;
  kernels::ConvInput input = input_of(x, e.beside);
  if (e.norm) {
    *statistics = group_norm_statistics(x, e.beside, *e.norm);
    if (e.upsample) {
      from = group_norm_apply(x, e.beside, *e.norm, *statistics);
      input = input_of(from);
    } else {
      line = group_norm_line(*e.norm, *statistics);
      input.line = line.data_ptr<float>(), input.silu = e.norm->silu;
    }
  }
  RECORD_FUNCTION("tweedie::conv3x3", flop((e.upsample ? 4 : 1) * direct_flop(x, weight)));
  return run(from, input, filter, weight.size(0),
             e.upsample ? ConvScale::kUpsampled : ConvScale::kSame, plain(bias),
             plain(e.image_bias), last(e.residual));
}

struct Winograd : torch::autograd::Function<Winograd> {
  // Places of the arguments that are tensors. x is channels last.
  enum {
    kX,
    kWeight,
    kBeside,
    kBias,
    kImageBias,
    kResidual,
    kGamma,
    kBeta,
    kScale,
    kShift,
    kCount
  };

  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight,
                        const MaybeTensor& beside, const MaybeTensor& bias,
                        const MaybeTensor& image_bias, const MaybeTensor& residual,
                        const MaybeTensor& gamma, const MaybeTensor& beta, const MaybeTensor& scale,
                        const MaybeTensor& shift, const ConvExtras& extras) {
    int64_t present = 0;
    int place = kBeside;
    for (const MaybeTensor* t :
         {&beside, &bias, &image_bias, &residual, &gamma, &beta, &scale, &shift})
      present |= int64_t{t->has_value()} << place++;
    ctx->saved_data["present"] = present | 1 << kX | 1 << kWeight;
    GroupNormStatistics statistics;
    const Tensor y =
        compute(x, weight, or_undefined(bias), extras,
                transformed(weight, tile_under(x, extras.upsample), false), &statistics);
    ctx->save_for_backward({x, weight, or_undefined(gamma), or_undefined(beta), or_undefined(scale),
                            or_undefined(shift), statistics.mean, statistics.rstd,
                            or_undefined(beside)});
    ctx->saved_data["upsample"] = extras.upsample;
    if (extras.norm) {
      ctx->saved_data["groups"] = extras.norm->groups;
      ctx->saved_data["eps"] = extras.norm->eps;
      ctx->saved_data["silu"] = extras.norm->silu;
    }
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list v = ctx->get_saved_variables();
    const Tensor &x = v[0], &weight = v[1], &beside = v[8];
    ConvExtras extras{.beside = beside, .upsample = ctx->saved_data["upsample"].toBool()};
    if (v[2].defined())
      extras.norm = {ctx->saved_data["groups"].toInt(),
                     ctx->saved_data["eps"].toDouble(),
                     v[2],
                     v[3],
                     ctx->saved_data["silu"].toBool(),
                     v[4],
                     v[5]};
    const auto present = static_cast<uint64_t>(ctx->saved_data["present"].toInt());
    const auto wants = [&](int i) {  // autograd counts the tensors that are there
      return (present >> i & 1) != 0 &&
             ctx->needs_input_grad(std::popcount(present & ((uint64_t{1} << i) - 1)));
    };
    variable_list out(kCount + 1);
    if (wants(kResidual)) out[kResidual] = gradients[0];
    const auto set_biases = [&](const Tensor& sums) {
      if (wants(kBias)) out[kBias] = sums.sum(0);
      if (wants(kImageBias)) out[kImageBias] = sums;
    };
    if (at::GradMode::is_enabled()) {
      set_biases(gradients[0].sum({2, 3}));
      const variable_list d =
          derivable_gradients({x, weight, beside, v[2], v[3], v[4], v[5]}, gradients[0],
                              [&] { return stock(x, weight, {}, extras); });
      out[kX] = d[0], out[kWeight] = d[1], out[kBeside] = d[2];
      for (int i = 0; i < 4; ++i) out[kGamma + i] = d[3 + i];
      return out;
    }
    const Tensor dy = channels_last(gradients[0]);
    const GroupNormStatistics statistics{v[6], v[7]};
    if (wants(kWeight)) {
      const Tensor h = extras.norm ? group_norm_apply(x, beside, *extras.norm, statistics) : x;
      RECORD_FUNCTION("tweedie::conv3x3_backward", flop(direct_flop(dy, weight)));
      out[kWeight] = at::empty_like(weight, weight.options(), at::MemoryFormat::ChannelsLast);
      const Tensor sums = at::empty({dy.size(0), dy.size(1)}, dy.options());
      kernels::winograd_filter_gradient(
          shape_of(dy, h.size(1), dy.size(1),
                   extras.upsample ? ConvScale::kUpsampled : ConvScale::kSame),
          h.data_ptr<float>(), dy.data_ptr<float>(), out[kWeight].data_ptr<float>(),
          sums.data_ptr<float>(), kernels::on_torch_threads);
      set_biases(sums);
    } else if (wants(kBias) || wants(kImageBias)) {
      RECORD_FUNCTION("tweedie::conv3x3_backward", flop(0));
      set_biases(dy.sum({2, 3}));
    }
    const bool norm = extras.norm && (wants(kX) || wants(kBeside) || wants(kGamma) ||
                                      wants(kBeta) || wants(kScale) || wants(kShift));
    if (!norm && !wants(kX)) return out;
    const Tensor dh = input_gradient(dy, weight, extras.upsample);
    if (!norm) {
      out[kX] = dh;
      return out;
    }
    const GroupNormGradients g =
        group_norm_gradients(x, beside, *extras.norm, statistics, dh, /*reuse=*/true);
    out[kX] = g.x, out[kBeside] = g.beside, out[kGamma] = g.weight, out[kBeta] = g.bias,
    out[kScale] = g.scale;
    out[kShift] = g.shift;
    return out;
  }
};

}  // namespace

Tensor FilterCache::find(const Tensor& weight, int64_t tile) {
  return (tile == 2 ? small_ : large_).find(weight, [&] {
    return transformed(weight, tile, false);
  });
}

void FilterCache::drop() {
  for (WeightCache* cache : {&small_, &large_, &patches_}) cache->drop();
}

ConvPlan plan_conv3x3(const ConvShape& s) {
  // The transforms cost as much as 16 channels of products.
  return s.in >= 16 && s.out >= 16 && s.height * s.width >= 16 ? ConvPlan::kWinograd
                                                               : ConvPlan::kStock;
}

ConvPlan plan_conv3x3_training(const ConvShape& s, int64_t batch) {
  // Measured: fewer tiles do not pay for the filter's transform.
  const int64_t tile = kernels::tile_of(s.height, s.width), least = tile == 2 ? 32 : 8;
  const auto along = [&](int64_t side) { return (side + tile - 1) / tile; };
  return batch * along(s.height) * along(s.width) >= least ? plan_conv3x3(s) : ConvPlan::kStock;
}

Tensor conv3x3(const Tensor& x, const Tensor& weight, const Tensor& bias, const ConvExtras& e) {
  if (e.cache && at::GradMode::is_enabled()) e.cache->drop();  // the filter is about to change
  const int64_t in = weight.size(1);
  const auto plan = [&] {
    const int64_t scale = e.upsample ? 2 : 1;
    const ConvShape shape{in, weight.size(0), scale * x.size(2), scale * x.size(3)};
    if (e.plans)
      if (const auto found = e.plans->find(shape); found != e.plans->end()) return found->second;
    return at::GradMode::is_enabled() ? plan_conv3x3_training(shape, x.size(0))
                                      : plan_conv3x3(shape);
  };
  const bool ours = runs_on_kernels(x) && runs_on_kernels(weight) && weight.size(2) == 3 &&
                    weight.size(3) == 3 && plan() == ConvPlan::kWinograd;
  const int64_t extra = e.beside.defined() ? e.beside.size(1) : 0;
  if (extra > 0 && !(ours && e.norm && runs_on_kernels(e.beside))) {
    ConvExtras rest = e;
    rest.beside.reset();
    return conv3x3(joined(x, e.beside), weight, bias, rest);
  }
  if (!ours || x.size(1) + extra != in) {
    if (!e.norm || !runs_on_kernels(x)) return stock(x, weight, bias, e);
    ConvExtras rest = e;
    rest.norm.reset();
    return stock(group_norm(x, *e.norm), weight, bias, rest);
  }
  ConvExtras last = e;
  if (extra > 0) last.beside = channels_last(e.beside);
  if (!at::GradMode::is_enabled()) {
    GroupNormStatistics statistics;
    const int64_t tile = tile_under(x, e.upsample);
    const Tensor filter = e.cache ? e.cache->find(weight, tile) : transformed(weight, tile, false);
    return compute(channels_last(x), weight, bias, last, filter, &statistics);
  }
  const GroupNormArgs none{}, &n = e.norm ? *e.norm : none;
  return Winograd::apply(channels_last(x), weight, maybe(last.beside), maybe(bias),
                         maybe(e.image_bias), maybe(e.residual), maybe(n.weight), maybe(n.bias),
                         maybe(n.scale), maybe(n.shift), last);
}

}  // namespace tweedie

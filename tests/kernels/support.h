// What the tests of the kernels share. An operation is a function of a list of tensors; it is held
// against the same made of LibTorch's operations in float64.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>
#include <vector>

#include "tweedie/core/error.h"
#include "tweedie/core/rng.h"

namespace tweedie::testing {

using at::Tensor;
using Tensors = std::vector<Tensor>;
using Operation = std::function<Tensor(const Tensors&)>;

/// Standard normal numbers in float32, a function of the seed and the count.
inline Tensor noise(at::IntArrayRef sizes, uint64_t seed) {
  Tensor out = at::empty(sizes);
  Rng(seed, stream_of("kernels test")).fill_normal(out.data_ptr<float>(), out.numel());
  return out;
}

/// Of least..most.
inline int64_t pick(Rng& rng, int64_t least, int64_t most) {
  return least + static_cast<int64_t>(rng.below(static_cast<uint64_t>(most - least + 1)));
}

inline Tensor in_float64(const Tensor& t) { return t.defined() ? t.to(at::kDouble) : t; }

/// ||a - reference|| / ||reference||, or ||a|| where the reference is zero.
inline double distance(const Tensor& a, const Tensor& reference) {
  const Tensor exact = in_float64(reference);
  const double norm = exact.norm().item<double>();
  return (in_float64(a) - exact).norm().item<double>() / (norm > 0 ? norm : 1);
}

/// A ParallelFor of unlike parts, so that none is cut evenly.
inline void in_two_parts(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  work(0, count / 3);
  work(count / 3, count);
}
inline void in_one_part(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  work(0, count);
}
/// Backwards, so that nothing is carried from a part to the next.
inline void in_many_parts(int64_t count, const std::function<void(int64_t, int64_t)>& work) {
  for (int64_t i = count; i-- > 0;) work(i, i + 1);
}

/// So many threads while it lives.
struct Threads {
  explicit Threads(int count) : before(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before); }
  Threads(const Threads&) = delete;
  int before;
};

/// The same numbers in one of kLayouts orders of memory; what lies between them is NaN.
constexpr int64_t kLayouts = 5;
inline Tensor in_layout(const Tensor& t, int64_t layout) {
  if (!t.defined()) return t;
  const Tensor gap = at::full_like(t, std::nan(""));
  switch (layout) {
    case 1:
      return t.dim() == 4 ? t.contiguous(at::MemoryFormat::ChannelsLast) : t.contiguous();
    case 2:
      return t.dim() < 2 ? t : t.transpose(-1, -2).contiguous().transpose(-1, -2);
    case 3: {
      const int64_t along = t.dim() > 1 ? 1 : 0, size = t.size(along);
      return at::cat({gap, t, gap}, along).narrow(along, size, size);
    }
    case 4:
      return at::stack({t, gap}, -1).select(-1, 0);
    default:
      return t.contiguous();
  }
}

/// An operation on tensors, and what it must agree with.
struct Case {
  std::string what;
  Operation ours, reference;
  std::vector<std::string> names;  ///< of the inputs
  Tensors inputs;                  ///< undefined ones are left out
  Tensor dy;                       ///< the gradient of the result
  Operation stock = {};            ///< what LibTorch has for it in float32, if not the reference

  void relayout(Rng& rng) {
    for (Tensor& t : inputs) t = in_layout(t, pick(rng, 0, kLayouts - 1));
    dy = in_layout(dy, pick(rng, 0, kLayouts - 1));
  }
};

struct Derived {
  Tensor y;
  Tensors gradients;  ///< of the inputs; undefined for those not wanted and those y ignores
};

/// The result and the gradients of all inputs, or of input `only`.
inline Derived differentiate(const Operation& f, Tensors inputs, const Tensor& dy, int only = -1,
                             bool create_graph = false) {
  Tensors leaves;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    inputs[i] = inputs[i].detach();
    if (only < 0 || only == static_cast<int>(i)) leaves.push_back(inputs[i].requires_grad_());
  }
  Derived out{f(inputs), Tensors(inputs.size())};
  const Tensors found = torch::autograd::grad({out.y}, leaves, {dy}, /*retain_graph=*/create_graph,
                                              create_graph, /*allow_unused=*/true);
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].defined() && inputs[i].requires_grad()) out.gradients[i] = found[next++];
  out.y = out.y.detach();
  return out;
}

/// (inputs..., dy) -> the gradients of f's inputs in one row, which can be derived again.
inline Operation gradient_of(const Operation& f) {
  return [f](const Tensors& all) {
    const Tensors inputs(all.begin(), all.end() - 1);
    Tensors leaves, flat;
    for (const Tensor& t : inputs)
      if (t.defined()) leaves.push_back(t);
    for (const Tensor& g :
         torch::autograd::grad({f(inputs)}, leaves, {all.back()}, true, /*create_graph=*/true))
      flat.push_back(g.flatten());
    return at::cat(flat);
  };
}

/// The same of the gradient.
inline Case second_derivatives(const Case& c) {
  Case out{c.what + ", second", gradient_of(c.ours), gradient_of(c.reference), c.names, c.inputs};
  out.names.emplace_back("dy");
  out.inputs.push_back(c.dy);
  int64_t size = 0;
  for (const Tensor& t : c.inputs) size += t.defined() ? t.numel() : 0;
  out.dy = noise({size}, 99);
  return out;
}

/// Ours in float32 against the reference in float64: the result and every gradient within
/// `tolerance`, or within so many times what LibTorch reaches in float32. No input is changed.
inline void expect_agreement(const Case& c, double tolerance, double of_stock = 0) {
  SCOPED_TRACE(c.what);
  Tensors before, exact_inputs;
  for (const Tensor& t : c.inputs) before.push_back(t.defined() ? t.clone() : t);
  for (const Tensor& t : c.inputs) exact_inputs.push_back(in_float64(t));
  const Tensor dy_before = c.dy.clone();
  const Derived ours = differentiate(c.ours, c.inputs, c.dy);
  const Derived exact = differentiate(c.reference, exact_inputs, in_float64(c.dy));
  Derived stock;
  if (of_stock > 0) stock = differentiate(c.stock ? c.stock : c.reference, c.inputs, c.dy);
  const auto expect = [&](const Tensor& a, const Tensor& b, const Tensor* in_float32,
                          const std::string& name) {
    if (!b.defined()) return;
    ASSERT_TRUE(a.defined()) << name << " is missing";
    EXPECT_EQ(a.scalar_type(), at::kFloat) << name;
    ASSERT_EQ(a.sizes(), b.sizes()) << name;
    const double bound = in_float32 ? of_stock * distance(*in_float32, b) : 0;
    EXPECT_LE(distance(a, b), std::max(tolerance, bound)) << name;
  };
  expect(ours.y, exact.y, of_stock > 0 ? &stock.y : nullptr, "result");
  for (size_t i = 0; i < c.inputs.size(); ++i)
    expect(ours.gradients[i], exact.gradients[i], of_stock > 0 ? &stock.gradients[i] : nullptr,
           "gradient of " + c.names[i]);
  for (size_t i = 0; i < c.inputs.size(); ++i)
    EXPECT_TRUE(!before[i].defined() || at::equal(before[i], c.inputs[i])) << c.names[i];
  EXPECT_TRUE(at::equal(dy_before, c.dy));
}

/// The gradients of ours follow its finite differences in float64, each input along a random
/// direction.
inline void expect_finite_differences(const Case& c) {
  SCOPED_TRACE(c.what);
  Tensors inputs;
  for (const Tensor& t : c.inputs) inputs.push_back(in_float64(t));
  const Tensor dy = in_float64(c.dy);
  const Derived ours = differentiate(c.ours, inputs, dy);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined()) continue;
    const Tensor direction = in_float64(noise(inputs[i].sizes(), 50 + i));
    const auto value = [&](double step) {
      Tensors moved = inputs;
      moved[i] = inputs[i] + step * direction;
      for (Tensor& t : moved)
        if (t.defined()) t = t.detach().requires_grad_();  // what gradient_of derives by
      return (c.ours(moved) * dy).sum().item<double>();
    };
    constexpr double kStep = 1e-5;
    const double found =
        ours.gradients[i].defined() ? (ours.gradients[i] * direction).sum().item<double>() : 0;
    EXPECT_NEAR((value(kStep) - value(-kStep)) / (2 * kStep), found,
                1e-7 * std::max(1.0, std::abs(found)))
        << c.names[i];
  }
}

/// The gradient of each input is the same within rounding if no other is wanted; under create_graph
/// it is within `tolerance`.
inline void expect_each_gradient_alone(const Case& c, double tolerance) {
  SCOPED_TRACE(c.what);
  const Derived all = differentiate(c.ours, c.inputs, c.dy);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    if (!c.inputs[i].defined()) continue;
    const int only = static_cast<int>(i);
    const Derived alone = differentiate(c.ours, c.inputs, c.dy, only);
    EXPECT_TRUE(at::equal(alone.y, all.y)) << c.names[i];
    EXPECT_LE(distance(alone.gradients[i], all.gradients[i]), 1e-6) << c.names[i];
    const Derived again = differentiate(c.ours, c.inputs, c.dy, only, /*create_graph=*/true);
    EXPECT_LE(distance(again.gradients[i], all.gradients[i]), tolerance) << c.names[i];
  }
}

/// The same bits on one thread as on several, and from an image alone as in its batch; the inputs
/// that have a row for each image are those that are as long as the result.
inline void expect_independence(const Case& c) {
  SCOPED_TRACE(c.what);
  const auto run = [&](int threads, const Tensors& inputs, const Tensor& dy) {
    const Threads guard(threads);
    return differentiate(c.ours, inputs, dy);
  };
  const Derived one = run(1, c.inputs, c.dy);
  for (const int threads : {2, 3}) {
    const Derived several = run(threads, c.inputs, c.dy);
    EXPECT_TRUE(at::equal(one.y, several.y)) << threads << " threads";
    for (size_t i = 0; i < c.inputs.size(); ++i)
      EXPECT_TRUE(!c.inputs[i].defined() || at::equal(one.gradients[i], several.gradients[i]))
          << c.names[i] << ", " << threads << " threads";
  }
  const int64_t n = c.dy.size(0);
  const auto has_images = [&](const Tensor& t) { return t.defined() && t.size(0) == n; };
  for (int64_t image = 0; image < n; ++image) {
    Tensors inputs = c.inputs;
    for (Tensor& t : inputs)
      if (has_images(t)) t = t.narrow(0, image, 1);
    const Derived alone = run(2, inputs, c.dy.narrow(0, image, 1));
    EXPECT_TRUE(at::equal(alone.y, one.y.narrow(0, image, 1))) << "image " << image;
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_TRUE(!has_images(c.inputs[i]) ||
                  at::equal(alone.gradients[i], one.gradients[i].narrow(0, image, 1)))
          << c.names[i] << ", image " << image;
  }
}

}  // namespace tweedie::testing

#include "tweedie/train/draws.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <functional>

namespace tweedie {
namespace {

// `next_t` is asked for each example in turn, before its label.
Draws draw_with(const Batch& batch, double label_dropout, int64_t null_class, Rng rng,
                const std::function<TimestepSampler::Drawn(int64_t i, Rng& rng)>& next_t) {
  RECORD_USER_SCOPE("tweedie::data");
  const int64_t n = batch.size();
  Draws out{at::empty({n}, at::kLong), at::empty({n}, at::kFloat), batch.labels.clone(),
            at::empty_like(batch.images)};
  int64_t* t = out.t.data_ptr<int64_t>();
  float* weight = out.weight.data_ptr<float>();
  int64_t* label = out.labels.data_ptr<int64_t>();
  bool labelled = true;
  for (int64_t i = 0; i < n; ++i) {
    const TimestepSampler::Drawn drawn = next_t(i, rng);
    t[i] = drawn.t, weight[i] = static_cast<float>(drawn.weight);
    labelled = labelled && label[i] >= 0;
    if (rng.uniform() < label_dropout) label[i] = null_class;  // CFG Alg. 1, line 3
  }
  if (!labelled) out.labels = Tensor();
  rng.fill_normal(out.eps.data_ptr<float>(), out.eps.numel());
  return out;
}

}  // namespace

Draws draw(const Batch& batch, const TimestepSampler& sampler, double label_dropout,
           int64_t null_class, Rng rng) {
  return draw_with(batch, label_dropout, null_class, rng,
                   [&](int64_t i, Rng& r) { return sampler.draw(i, batch.size(), r); });
}

Draws draw(const Batch& batch, Tensor t, double label_dropout, int64_t null_class, Rng rng) {
  return draw_with(batch, label_dropout, null_class, rng, [&](int64_t i, Rng&) {
    return TimestepSampler::Drawn{t[i].item<int64_t>(), 1};
  });
}

}  // namespace tweedie

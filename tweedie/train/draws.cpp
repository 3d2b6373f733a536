#include "tweedie/train/draws.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

namespace tweedie {

Draws draw(const Batch& batch, int64_t T, double label_dropout, int64_t null_class, Rng rng) {
  RECORD_USER_SCOPE("tweedie::data");
  const int64_t n = batch.size();
  Draws out{at::empty({n}, at::kLong), batch.labels.clone(), at::empty_like(batch.images)};
  int64_t* t = out.t.data_ptr<int64_t>();
  int64_t* label = out.labels.data_ptr<int64_t>();
  bool labelled = true;
  for (int64_t i = 0; i < n; ++i) {
    t[i] = static_cast<int64_t>(rng.below(T));  // DDPM Alg. 1, line 3
    labelled = labelled && label[i] >= 0;
    if (rng.uniform() < label_dropout) label[i] = null_class;  // CFG Alg. 1, line 3
  }
  if (!labelled) out.labels = Tensor();
  rng.fill_normal(out.eps.data_ptr<float>(), out.eps.numel());
  return out;
}

}  // namespace tweedie

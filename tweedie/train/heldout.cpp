#include "tweedie/train/heldout.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "tweedie/core/rng.h"
#include "tweedie/losses/simple.h"

namespace tweedie {
namespace {

// Every k-th image: a folder is sorted by class, so its beginning would not stand for the whole. At
// least four, with repetition, so that every quarter of t has one.
class Spread : public Dataset {
 public:
  Spread(DatasetPtr all, int64_t count)
      : all_(std::move(all)), count_(std::max<int64_t>(4, std::min(count, all_->size()))) {}
  int64_t size() const override { return count_; }
  Example get(int64_t i) const override { return all_->get(i * all_->size() / count_); }
  std::pair<int, int> common_size() const override { return all_->common_size(); }
  int common_channels() const override { return all_->common_channels(); }
  std::string describe() const override { return all_->describe(); }

 private:
  DatasetPtr all_;
  int64_t count_;
};

}  // namespace

Heldout heldout_loss(const LabelledNetwork& network, const Process& process, DatasetPtr dataset,
                     int64_t count, LoaderOptions options, at::Device device, uint64_t seed) {
  at::NoGradGuard no_grad;
  options.shuffle = options.flip = false;
  options.crop = Crop::kCenter;
  const auto spread = std::make_shared<Spread>(std::move(dataset), count);
  const int64_t T = process.schedule().size();
  std::array<double, 4> sums{};
  std::array<int64_t, 4> counts{};
  Loader loader(spread, options);
  int64_t first = 0;
  for (Batch batch = loader.next(); batch.images.defined(); batch = loader.next()) {
    Tensor eps = at::empty_like(batch.images), t = at::empty({batch.size()}, at::kLong);
    for (int64_t k = 0; k < batch.size(); ++k) {
      Rng rng(seed, stream_of("heldout", first + k));
      const double u =
          ((first + k) % 4 + rng.uniform()) / 4;  // one quarter of [0, 1) after the other
      t[k] = std::min(T - 1, static_cast<int64_t>(u * double(T)));
      rng.fill_normal(eps[k].data_ptr<float>(), eps[k].numel());
    }
    const Tensor x0 = batch.images.to(device);
    eps = eps.to(device), t = t.to(device);
    const Tensor output = network(process.network_input(process.add_noise(x0, eps, t), t),
                                  process.told(t), batch.labels.to(device));
    const Tensor mean = output.narrow(1, 0, x0.size(1)).to(at::kFloat);  // without the variance
    const Tensor losses = simple_loss(mean, process.target(x0, eps, t)).cpu();
    for (int64_t k = 0; k < batch.size(); ++k) {
      sums[(first + k) % 4] += losses[k].item<float>();
      ++counts[(first + k) % 4];
    }
    first += batch.size();
  }
  const auto mean = [&](int q) { return sums[q] / double(counts[q]); };
  Heldout out{0, mean(0), mean(1), mean(2), mean(3)};
  out.all = (out.q1 + out.q2 + out.q3 + out.q4) / 4;
  return out;
}

}  // namespace tweedie

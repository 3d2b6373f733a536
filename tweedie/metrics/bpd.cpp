#include "tweedie/metrics/bpd.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>

#include "tweedie/core/rng.h"
#include "tweedie/metrics/moments.h"

namespace tweedie {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kTurn[] = {0.618033988749894848, 0.414213562373095049};  // fill [0,1) evenly
constexpr int64_t kPilotImages = 32;
constexpr double kUniformShare = 0.25;  // of the draws, so that no step is forgotten

// Steps of one image with what each counts for.
struct Comb {
  std::vector<int64_t> steps;
  std::vector<double> weights;
};

// A distribution over the steps, sampled by inversion.
class Proposal {
 public:
  explicit Proposal(std::vector<double> density) : density_(std::move(density)) {
    double sum = 0;
    for (const double p : density_) cumulative_.push_back(sum += p);
    for (double& p : density_) p /= sum;
    for (double& c : cumulative_) c /= sum;
  }
  // Two halves of count / 2 teeth, each an unbiased estimate of the sum over steps. From image to
  // image each turns by an angle of its own, so that how they lie to each other is all but random.
  Comb draw(uint64_t seed, int64_t image, int64_t count) const {
    Comb comb;
    const int64_t teeth = count / 2;
    for (int64_t half = 0; half < 2; ++half) {
      const double first = Rng(seed, stream_of("bpd comb", half)).uniform();
      const double shift = std::fmod(first + kTurn[half] * static_cast<double>(image), 1.0);
      for (int64_t j = 0; j < teeth; ++j) {
        const int64_t k = at((static_cast<double>(j) + shift) / static_cast<double>(teeth));
        comb.steps.push_back(k);
        comb.weights.push_back(1 / (static_cast<double>(teeth) * density_[k]));
      }
    }
    return comb;
  }

 private:
  int64_t at(double u) const {
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), u);
    return std::min<int64_t>(found - cumulative_.begin(),
                             static_cast<int64_t>(cumulative_.size()) - 1);
  }
  std::vector<double> density_, cumulative_;
};

// 0, 1, 2, 3, 4, 6, 8, 11, ..., N: bins that grow with the step.
std::vector<int64_t> bin_edges(int64_t steps) {
  std::vector<int64_t> edges = {0};
  for (double edge = 1; static_cast<int64_t>(edge) < steps; edge = std::max(edge + 1, 1.35 * edge))
    edges.push_back(static_cast<int64_t>(edge));
  edges.push_back(steps);
  return edges;
}

struct Terms {
  Tensor closed, monte_carlo;  // [N] float64 on the CPU
};

class Estimator {
 public:
  Estimator(const LabelledNetwork& network, const Process& process, const VariationalBound& bound,
            const std::vector<int64_t>& indices, at::Device device, const BpdOptions& options)
      : network_(network),
        process_(process),
        bound_(bound),
        indices_(at::tensor(indices, at::kLong)),
        device_(device),
        options_(options) {}

  // Of images first, first + 1, ... at a step each; `draw` tells apart the noise of one image.
  Terms terms(const Batch& batch, int64_t first, const Tensor& k, int64_t draw, const char* use) {
    Tensor eps = at::empty_like(batch.images), z;
    if (options_.monte_carlo) z = at::empty_like(batch.images);
    for (int64_t i = 0; i < batch.size(); ++i) {
      Rng rng(options_.seed, stream_of(use, first + i, draw));
      rng.fill_normal(eps[i].data_ptr<float>(), eps[i].numel());
      if (z.defined()) rng.fill_normal(z[i].data_ptr<float>(), z[i].numel());
    }
    const Tensor x0 = batch.images.to(device_), steps = k.to(device_);
    const Tensor t = indices_.index_select(0, k).to(device_);
    const Tensor x_t = process_.add_noise(x0, eps.to(device_), t);
    const Tensor output =
        network_(process_.network_input(x_t, t), process_.told(t), batch.labels.to(device_));
    const Estimate e = process_.estimate(output.to(at::kFloat), x_t, t);
    Terms out{bound_.term(e, x0, steps).cpu(), {}};
    if (z.defined()) out.monte_carlo = bound_.monte_carlo_term(e, x0, steps, z.to(device_)).cpu();
    if (!out.closed.isfinite().all().item<bool>())
      fail(
          "[metrics] a term of the bound is not finite (NaN or Inf): the network's output at t = "
          "{} or another step of that batch",
          t[0].item<int64_t>());
    return out;
  }

  // Proportional to the root mean square of each step's term, IDDPM Eq. 18, by bins of steps.
  Proposal pilot(const Batch& batch) {
    const std::vector<int64_t> edges = bin_edges(bound_.size());
    std::vector<double> density(bound_.size());
    const int64_t bins = static_cast<int64_t>(edges.size()) - 1;
    std::vector<double> mass(bins);
    for (int64_t b = 0; b < bins; ++b) {
      Tensor k = at::empty({batch.size()}, at::kLong);
      for (int64_t i = 0; i < batch.size(); ++i) {
        Rng rng(options_.seed, stream_of("bpd pilot", i, b));
        k[i] = edges[b] + static_cast<int64_t>(rng.below(edges[b + 1] - edges[b]));
      }
      const Tensor terms = this->terms(batch, 0, k, b, "bpd pilot noise").closed;
      mass[b] = terms.square().mean().sqrt().item<double>();
    }
    double sum = 0;
    for (int64_t b = 0; b < bins; ++b)
      sum += mass[b] * static_cast<double>(edges[b + 1] - edges[b]);
    for (int64_t b = 0; b < bins; ++b)
      for (int64_t k = edges[b]; k < edges[b + 1]; ++k)
        density[k] = (1 - kUniformShare) * (sum > 0 ? mass[b] / sum : 0) +
                     kUniformShare / static_cast<double>(bound_.size());
    return Proposal(density);
  }

 private:
  const LabelledNetwork& network_;
  const Process& process_;
  const VariationalBound& bound_;
  Tensor indices_;
  at::Device device_;
  const BpdOptions& options_;
};

Comb every_step(int64_t steps) {
  Comb comb;
  for (int64_t k = 0; k < steps; ++k) comb.steps.push_back(k), comb.weights.push_back(1);
  return comb;
}

// What the images of a batch, each at the steps of its comb, add up to.
class Tally {
 public:
  Tally(int64_t steps, const BpdOptions& options)
      : options_(options), closed_(steps), drawn_(steps) {}

  void begin(int64_t images) { sums_.assign(images, {}); }
  // Draw j of `each` of every image of the batch.
  void add(const std::vector<Comb>& combs, int64_t j, int64_t each, const Terms& terms) {
    const int64_t half = options_.exact ? 0 : j / (each / 2);
    for (size_t i = 0; i < combs.size(); ++i) {
      const int64_t step = combs[i].steps[j];
      const double term = terms.closed[i].item<double>(), weight = combs[i].weights[j];
      closed_[step].add(term);
      sums_[i].half[half] += weight * term;
      if (!options_.monte_carlo) continue;
      const double one = step == 0 ? term : terms.monte_carlo[i].item<double>();
      drawn_[step].add(one);
      sums_[i].drawn[half] += weight * one;
    }
  }
  void end(const Tensor& prior) {
    const auto sum = [&](const double(&half)[2]) {
      return options_.exact ? half[0] : (half[0] + half[1]) / 2;
    };
    for (size_t i = 0; i < sums_.size(); ++i) {
      const double L_T = prior[i].item<double>();
      priors_.add(L_T);
      totals_.add(L_T + sum(sums_[i].half));
      drawn_totals_.add(L_T + sum(sums_[i].drawn));
      const double gap = (sums_[i].half[0] - sums_[i].half[1]) / 2;
      gaps_ += gap * gap;
    }
  }
  double total() const { return totals_.mean; }

  Bpd result(int64_t each) const {
    Bpd out;
    out.total = totals_.mean;
    out.image_stderr = totals_.standard_error();
    out.estimator_stderr =
        options_.exact ? kNone : std::sqrt(gaps_) / static_cast<double>(totals_.n);
    out.prior = priors_.mean;
    out.images = totals_.n, out.t_per_image = each;
    for (const Moments& step : closed_) {
      out.vlb.push_back(step.n ? step.mean : kNone);
      out.draws.push_back(step.n);
    }
    out.decoder = out.vlb[0];
    if (!options_.monte_carlo) return out;
    out.monte_carlo_total = drawn_totals_.mean;
    for (size_t k = 0; k < closed_.size(); ++k)
      out.variance_ratio.push_back(k == 0 ? kNone : drawn_[k].variance() / closed_[k].variance());
    return out;
  }

 private:
  struct Sums {
    double half[2] = {0, 0}, drawn[2] = {0, 0};
  };
  const BpdOptions& options_;
  std::vector<Sums> sums_;  // of the batch's images
  Moments totals_, priors_, drawn_totals_;
  double gaps_ = 0;  // sum over images of ((half 0 - half 1) / 2)^2
  std::vector<Moments> closed_, drawn_;
};

Batch first_of(const Batch& batch, int64_t n) {
  return {batch.images.narrow(0, 0, n), batch.labels.narrow(0, 0, n)};
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Bpd variational_bpd(const LabelledNetwork& network, const Process& process,
                    const VariationalBound& bound, const std::vector<int64_t>& indices,
                    DatasetPtr dataset, LoaderOptions loader_options, at::Device device,
                    const BpdOptions& options, const ProgressFn& progress,
                    const CancelToken& cancel) {
  const at::NoGradGuard no_grad;
  if (!options.exact && (options.t_per_image < 2 || options.t_per_image % 2 != 0))
    fail("t_per_image: {} is not an even number from 2 on", options.t_per_image);
  if (options.images < 0) fail("images: {} is below 0", options.images);
  if (dataset->size() == 0) fail("[metrics] the dataset holds no images");
  loader_options.shuffle = loader_options.flip = false;
  loader_options.crop = Crop::kCenter;
  const int64_t n =
      options.images > 0 ? std::min(options.images, dataset->size()) : dataset->size();
  const int64_t each = options.exact ? bound.size() : options.t_per_image;

  if (static_cast<int64_t>(indices.size()) != bound.size())
    fail("[metrics] {} timesteps for a chain of {} steps", indices.size(), bound.size());
  Estimator estimator(network, process, bound, indices, device, options);
  std::optional<Proposal> proposal;
  if (!options.exact) {
    LoaderOptions few = loader_options;
    few.batch_size = std::min(kPilotImages, n);
    proposal = estimator.pilot(Loader(dataset, few).next());
  }
  Tally tally(bound.size(), options);
  Loader loader(dataset, loader_options);
  const double start = now();
  for (int64_t first = 0; first < n;) {
    Batch batch = loader.next();
    const int64_t count = std::min(batch.size(), n - first);
    batch = first_of(batch, count);
    std::vector<Comb> combs;
    for (int64_t i = 0; i < count; ++i)
      combs.push_back(proposal ? proposal->draw(options.seed, first + i, each)
                               : every_step(bound.size()));
    tally.begin(count);
    for (int64_t j = 0; j < each; ++j) {
      cancel.check();
      Tensor k = at::empty({count}, at::kLong);
      for (int64_t i = 0; i < count; ++i) k[i] = combs[i].steps[j];
      tally.add(combs, j, each, estimator.terms(batch, first, k, j, "bpd"));
      if (progress)
        progress({.done = first * each + (j + 1) * count,
                  .total = n * each,
                  .unit = "term",
                  .seconds = now() - start,
                  .values = {{"bits/dim", tally.total()}}});
    }
    tally.end(bound.prior(batch.images));
    first += count;
  }
  return tally.result(each);
}

}  // namespace tweedie

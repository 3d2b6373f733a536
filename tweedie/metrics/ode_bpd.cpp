#include "tweedie/metrics/ode_bpd.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tweedie/core/noise.h"
#include "tweedie/metrics/moments.h"
#include "tweedie/process/gaussian.h"
#include "tweedie/process/grid.h"

namespace tweedie {
namespace {

using Clock = std::chrono::steady_clock;

// Images with a density, and what it takes to get from there to the levels: [N] bits/dim.
struct Dequantised {
  Tensor x, decoder;
};

Dequantised uniform(const Tensor& x0, uint64_t seed, int64_t first) {
  const Tensor bins = at::full({x0.size(0)}, -std::log2(kPixelWidth), at::kDouble);
  return {dequantise(x0, seed, first), bins};  // FPP Sec. 3.1
}

// x_1 / alpha ~ q = N(x_0, (sigma/alpha)^2), and back by the bound's decoder.
Dequantised variational(const Denoiser& denoise, const VariationalBound& bound, const Level& at,
                        const Tensor& x0, uint64_t seed, int64_t first) {
  const at::NoGradGuard no_grad;
  const Tensor z = SeededNoise(seed, first, x0.sizes().vec()).init().to(x0.device());
  const double r = noise_ratio(at);
  const Tensor x = x0 + r * z;
  const Tensor log_variance = at::full({}, 2 * std::log(r), at::kDouble);
  const Tensor log_q = log_density({x0.to(at::kDouble), log_variance}, x.to(at::kDouble));
  const Tensor k = at::zeros({x0.size(0)}, at::kLong);
  const Tensor L_0 = bound.term(denoise(at.alpha * x, at), x0, k);
  return {x, (L_0 - bits_per_dim(-log_q)).cpu()};  // FPP Sec. 3.1
}

std::string dequantisation_of(const std::string& name, bool points) {
  const std::vector<std::string> known = dequantisations();
  if (std::find(known.begin(), known.end(), name) == known.end())
    fail_unknown("dequantisation", name, known);
  if (name == "auto") return points ? "none" : "variational";
  if (points && name == "uniform") fail("dequantisation uniform: points have no levels to spread");
  if (!points && name == "none")
    fail("dequantisation none: 8-bit levels have no density; use variational or uniform");
  return name;
}

std::vector<Level> levels_of(const Process& process, int64_t steps) {
  const Grid grid = make_grid(process, {.steps = steps + 1, .spacing = "log_snr"});
  return {grid.levels.begin(), grid.levels.end() - 1};
}

}  // namespace

OdeBpd ode_bpd(const LabelledNetwork& network, const Process& process,
               const VariationalBound& bound, DatasetPtr dataset, LoaderOptions loader_options,
               at::Device device, const OdeBpdOptions& options, const ProgressFn& progress,
               const CancelToken& cancel) {
  if (options.images < 0) fail("images: {} is below 0", options.images);
  const int64_t T = process.schedule().size();
  if (options.steps < 3 || options.steps >= T)
    fail("steps of the ODE: {} is outside 3..{}", options.steps, T - 1);
  const std::string how =
      dequantisation_of(options.dequantisation, loader_options.points.has_value());
  if (dataset->size() == 0) fail("[metrics] the dataset holds no images");
  loader_options.shuffle = loader_options.flip = false;
  loader_options.crop = Crop::kCenter;
  const int64_t n =
      options.images > 0 ? std::min(options.images, dataset->size()) : dataset->size();
  const std::vector<Level> levels = levels_of(process, options.steps);
  const Clock::time_point start = Clock::now();

  Moments total, density, decoder;
  OdeBpd out{.dequantisation = how, .sigma = noise_ratio(levels.back())};
  Loader loader(std::move(dataset), loader_options);
  for (int64_t first = 0; first < n;) {
    const Batch batch = loader.next();
    const int64_t count = std::min(batch.size(), n - first);
    const Tensor x0 = batch.images.narrow(0, 0, count).to(device);
    const Tensor labels = batch.labels.narrow(0, 0, count).to(device);
    const Denoiser denoise =
        process.denoiser([&](const Tensor& x, const Tensor& t) { return network(x, t, labels); });
    const Dequantised d = how == "none" ? Dequantised{x0, at::zeros({count}, at::kDouble)}
                          : how == "uniform"
                              ? uniform(x0, options.seed, first)
                              : variational(denoise, bound, levels.back(), x0, options.seed, first);
    OdeLikelihoodOptions ode = options.ode;
    ode.seed = static_cast<int64_t>(options.seed), ode.first = first;
    const auto on_step = [&](int64_t done, int64_t of) {
      cancel.check();
      Progress now{.done = first * of + done * count,
                   .total = n * of,
                   .unit = "step",
                   .seconds = std::chrono::duration<double>(Clock::now() - start).count(),
                   .values = {}};
      if (total.n > 0) now.values = {{"bits/dim", total.mean}};
      if (progress) progress(now);
    };
    const OdeLikelihood p = ode_log_density(denoise, d.x, levels, ode, on_step);
    const Tensor bits = density_bits_per_dim(p.log_density, x0[0].numel()).cpu();
    for (int64_t i = 0; i < count; ++i) {
      density.add(bits[i].item<double>());
      decoder.add(d.decoder[i].item<double>());
      total.add(bits[i].item<double>() + d.decoder[i].item<double>());
    }
    out.calls = p.calls;
    first += count;
  }
  out.total = total.mean, out.image_stderr = total.standard_error();
  out.density = density.mean, out.decoder = decoder.mean;
  out.images = n;
  return out;
}

}  // namespace tweedie

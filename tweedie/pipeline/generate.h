// Draws images from a model: the request says what, the model folder decides the rest.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tweedie/core/progress.h"
#include "tweedie/io/image.h"
#include "tweedie/pipeline/model_folder.h"
#include "tweedie/samplers/sampler.h"

namespace tweedie {

struct GenerateRequest {
  int64_t n = 1;
  uint64_t seed = 0;
  int64_t batch = 16;  ///< images at once: bounds the memory, changes no noise
  /// Absent: tweedie.json's recommendation, else the folder's scheduler.
  std::optional<std::string> sampler = {};
  /// Absent: the recommendation; else ddpm takes all of the process's, the others 50.
  std::optional<int64_t> steps = {};
  /// One an image, or one for all; empty: 0,1,2,... by image index if the model has classes.
  std::vector<int64_t> classes = {};
  // Overrides of the folder's scheduler_config.json, one by one:
  std::optional<double> eta = {};
  std::optional<std::string> spacing = {}, variance_type = {};
  std::optional<int64_t> steps_offset = {};
  std::vector<int64_t> timesteps = {};  ///< falling; in place of steps and a spacing
  std::optional<double> rho = {};       ///< of karras
  std::optional<double> sigma_max = {}, sigma_min = {};  ///< of karras, exponential, log_snr
  std::optional<bool> clip_sample = {};
  std::optional<double> dynamic_threshold = {};  ///< the quantile of |x0| that becomes 1 (Imagen)
  std::optional<bool> rederive_eps = {};  ///< true is OpenAI's way: eps again from the clipped x0
  std::optional<int64_t> order = {};
  std::optional<std::string> solver_type = {}, basis = {};
  std::optional<bool> corrector = {};
  std::optional<double> s_churn = {}, s_min = {}, s_max = {}, s_noise = {};
  std::string rules = "paper";  ///< or diffusers: docs/samplers.md
  // Noise brought along: init [N,C,H,W], steps [S,N,C,H,W]; undefined draws it from the seed.
  at::Tensor noise_init = {}, noise_steps = {};
};

/// The request with everything decided, as it is printed and stored with the images.
struct Plan {
  std::string sampler;
  int64_t steps = 0;
  int64_t nfe = 0;           ///< network calls an image
  bool recommended = false;  ///< sampler and steps came from tweedie.json
  SamplerOptions options;
  ProcessOptions process;
  GridOptions grid;
  std::vector<int64_t> classes;  ///< n entries, or empty
  /// What the user should know: which classes are drawn, a poor choice.
  std::vector<std::string> notes;
};

/// Sampler, steps, calls, grid, clipping, rules and the options that the sampler heeds, as they are
/// printed and stored with the images: plans that differ have different descriptions.
Json description_of(const Plan& plan);

/// Decides and checks everything before any work. Throws Error (user) naming the value and the
/// choices.
Plan plan(const Model& model, const GenerateRequest& request);

struct GenerateCallbacks {
  /// Images first.. of a finished batch: [n,C,H,W] float32 on the CPU, not clamped.
  std::function<void(int64_t first, const at::Tensor& raw)> images = {};
  /// x_t after `step` of `steps` for a batch, on the CPU; step 0 is the noise. Only called if set.
  std::function<void(int64_t first, int64_t step, int64_t steps, const at::Tensor& x)> way = {};
  ProgressFn progress = {};  ///< in sampler steps
};

/// Runs the plan batch by batch. Throws Error (interrupted) between steps once `cancel` is set:
/// batches that were finished have been handed out. A model may be used by one thread at a time.
void generate(Model& model, const GenerateRequest& request, const Plan& plan,
              const GenerateCallbacks& callbacks, const CancelToken& cancel = {});

/// The short form: all images in memory.
std::vector<Image> generate(Model& model, const GenerateRequest& request,
                            const ProgressFn& progress = {}, const CancelToken& cancel = {});

/// Seconds that one network call of a batch of `batch` takes here (one warm-up, one timed).
double seconds_per_call(Model& model, int64_t batch);

/// A class by index, name or "none" (the null class). Throws Error (user) naming the known ones.
int64_t class_index(const Model& model, const std::string& name);
/// "3", "Dress", "none": how a class index is shown.
std::string class_name(const Model& model, int64_t index);

}  // namespace tweedie

// What a diffusion process is set by: the keys of diffusers' scheduler_config.json that
// DDPMScheduler and DDIMScheduler have, under their names and with their defaults; and path,
// sigma_*, shift, a learned schedule and two predictions, which those classes do not know.
#pragma once
#include "tweedie/core/options.h"
#include "tweedie/process/schedule_names.h"

namespace tweedie {

/// How the reverse step's variance is chosen, DDPM Sec. 3.2 and IDDPM Sec. 3.1. The `_log` forms
/// name the same numbers; the learned ones need a network with 2C output channels.
inline std::vector<std::string> variance_types() {
  return {"fixed_small",     "fixed_small_log", "fixed_large",
          "fixed_large_log", "learned",         "learned_range"};
}

/// What the network can be asked for. flow_prediction is the velocity eps - x_0; edm the output of
/// EDM's preconditioned network, whose input is scaled too.
inline std::vector<std::string> prediction_types() {
  return {"epsilon", "sample", "v_prediction", "flow_prediction", "edm"};
}

struct ProcessOptions {
  int64_t num_train_timesteps = 1000;
  double beta_start = 1e-4, beta_end = 0.02;
  std::string beta_schedule = "linear";
  std::optional<std::vector<double>> trained_betas;
  std::string prediction_type = "epsilon";
  std::string variance_type = "fixed_small";
  bool clip_sample = true;
  double clip_sample_range = 1;
  bool thresholding = false;
  double dynamic_thresholding_ratio = 0.995;
  double sample_max_value = 1;
  std::string timestep_spacing = "leading";
  int64_t steps_offset = 0;
  bool set_alpha_to_one = true;
  bool rescale_betas_zero_snr = false;
  std::string path = "vp";
  double sigma_min = 0.002, sigma_max = 80, sigma_data = 0.5, shift = 1;
  std::string sigma_schedule = "karras";
  double cosine_s = 0.008, max_beta = 0.999;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("num_train_timesteps", self.num_train_timesteps, "T, the steps from image to noise",
          between(1, 1e6));
    field("beta_start", self.beta_start, "variance of the first step", between(0, 1));
    field("beta_end", self.beta_end, "variance of the last step", between(0, 1));
    field("beta_schedule", self.beta_schedule, "how the variance grows between them",
          one_of(beta_schedules()));
    field("trained_betas", self.trained_betas, "the T variances themselves, instead of a schedule",
          between(0, 1));
    field("prediction_type", self.prediction_type, "what the network is asked for",
          one_of(prediction_types()));
    field("variance_type", self.variance_type, "variance of a ddpm step", one_of(variance_types()));
    field("clip_sample", self.clip_sample, "clamp the believed x_0 to +-clip_sample_range");
    field("clip_sample_range", self.clip_sample_range, "see clip_sample", at_least(0));
    field("thresholding", self.thresholding,
          "dynamic thresholding instead of the clamp (Imagen); for pixels, not for latents");
    field("dynamic_thresholding_ratio", self.dynamic_thresholding_ratio,
          "the quantile of |x_0| that becomes 1", between(0, 1));
    field("sample_max_value", self.sample_max_value, "that quantile is at most this", at_least(1));
    field("timestep_spacing", self.timestep_spacing, "which of the T steps a sampler visits",
          one_of({"leading", "linspace", "trailing"}));
    field("steps_offset", self.steps_offset, "added to leading timesteps", at_least(0));
    field("set_alpha_to_one", self.set_alpha_to_one,
          "ddim ends at the data itself (true) or at the level of t = 0 (false)");
    field("rescale_betas_zero_snr", self.rescale_betas_zero_snr,
          "stretch the schedule until the last step is pure noise");
    field("path", self.path,
          "vp: signal and noise of unit power, by the betas; edm: the image itself with noise of "
          "sigma_min..sigma_max (EDM, VE); flow: (1 - tau) x_0 + tau eps (rectified flow)",
          one_of({"vp", "edm", "flow"}));
    field("sigma_min", self.sigma_min, "edm: the least noise", between(1e-9, 1e9));
    field("sigma_max", self.sigma_max, "edm: the most noise", between(1e-9, 1e9));
    field("sigma_data", self.sigma_data, "prediction_type edm: standard deviation of the images",
          between(1e-9, 1e9));
    field("shift", self.shift, "flow: above 1 more of the steps are noisy ones",
          between(1e-3, 1e3));
    field("sigma_schedule", self.sigma_schedule,
          "edm: sigma over t; karras is EDM's, exponential is VE's",
          one_of({"karras", "exponential"}));
    field("cosine_s", self.cosine_s, "squaredcos_cap_v2: keeps the first steps from vanishing",
          between(0, 1));
    field("max_beta", self.max_beta,
          "squaredcos_cap_v2, sigmoid_abar, laplace: no beta is above it", between(1e-9, 0.999999));
  }
};

}  // namespace tweedie

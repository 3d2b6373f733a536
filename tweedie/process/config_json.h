// diffusers' scheduler_config.json.
#pragma once
#include "tweedie/process/options.h"

namespace tweedie {

/// The version of diffusers whose formats are written.
inline constexpr const char* kDiffusersVersion = "0.42.1";

/// Reads a scheduler_config.json as diffusers' OtherScheduler.from_pretrained does: keys in the
/// file win, absent ones take the defaults. Keys that begin with '_' and keys of diffusers' other
/// schedulers are passed over, since a folder may be saved for any of them. Throws Error for a key
/// that no scheduler has and for values that ProcessOptions does not take.
ProcessOptions process_options_from_json(const Json& scheduler_config);

/// diffusers' class for a folder of this process: DDPMScheduler on the vp path, EDMEulerScheduler,
/// FlowMatchEulerDiscreteScheduler. Throws Error (user) for a path and a prediction_type that none
/// of them has together.
std::string scheduler_class(const ProcessOptions& options);

/// Whether DDPMScheduler makes the same betas of a beta_schedule's name: not if they were trained,
/// for sigmoid_abar, and for numbers of the cosine that it does not know.
bool betas_have_name(const ProcessOptions& options);

/// What `class_name` (one of these or DDIMScheduler).from_pretrained opens: every key of that
/// class, sorted. A schedule that the class does not know by name is written out as trained_betas.
Json scheduler_json(const ProcessOptions& options, const std::string& class_name);

}  // namespace tweedie

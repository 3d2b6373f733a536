// How good a model is, in figures.
#pragma once
#include <optional>
#include <string>

#include "tweedie/metrics/bpd.h"
#include "tweedie/metrics/ode_bpd.h"
#include "tweedie/pipeline/model_folder.h"

namespace tweedie {

struct EvaluateRequest {
  /// A dataset spec; its @test part unless it names another. "": what the model's training held
  /// out.
  std::string data;
  BpdOptions bpd;
  OdeBpdOptions ode;
  int64_t batch = 64;                 ///< images at once: bounds the memory
  std::optional<int64_t> steps = {};  ///< of a strided chain with a bound of its own; absent: all T
  std::optional<std::string> spacing = {}, variance_type = {};  ///< over the folder's
  std::optional<bool> clip_sample = {};                         ///< of the believed x_0
  bool tell_labels = true;    ///< of the data, to a network with classes; else the null class
  bool tanh_decoder = false;  ///< OpenAI's approximation in L_0
};

struct EvaluateResult {
  Bpd bpd;
  std::string method;             ///< in one line, how the figure came about
  std::vector<double> timesteps;  ///< what the network was told at each step of the chain
};

/// Bits/dim by the variational bound. Throws Error (user) for what does not fit together, before
/// any work.
EvaluateResult evaluate_bpd(Model& model, const EvaluateRequest& request,
                            const ProgressFn& progress = {}, const CancelToken& cancel = {});

struct OdeResult {
  OdeBpd bpd;
  std::string method;
};

/// Bits/dim by the probability-flow ODE; a chain of the request's (steps, spacing) says nothing
/// here. Throws Error (user) for what does not fit together, before any work.
OdeResult evaluate_bpd_ode(Model& model, const EvaluateRequest& request,
                           const ProgressFn& progress = {}, const CancelToken& cancel = {});

}  // namespace tweedie

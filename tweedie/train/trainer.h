// Training: images in, a network's weights and their running mean out.
//
//   Trainer trainer({.net = net, .process = process, .train = options, .data = data,
//                    .loader = {...}, .folder = run});
//   for (const std::string& line : trainer.plan().lines()) say(line);
//   trainer.run({.progress = bar, .notice = say, .on_checkpoint = save_model}, cancel, resume);
#pragma once
#include <filesystem>
#include <functional>

#include "tweedie/core/progress.h"
#include "tweedie/data/loader.h"
#include "tweedie/losses/objective.h"
#include "tweedie/nn/network.h"
#include "tweedie/process/process.h"
#include "tweedie/train/checkpoint.h"
#include "tweedie/train/options.h"
#include "tweedie/train/plan.h"

namespace tweedie {

class EventWriter;
struct StepReport;

struct TrainSetup {
  Network net{nullptr};  ///< trained in place, on the device where it lies
  Process process{ProcessOptions{}};
  ObjectiveOptions objective;
  TrainOptions train;
  DatasetPtr data;
  DatasetPtr heldout;    ///< may be null: no held-out loss
  LoaderOptions loader;  ///< size, channels, flip and crop; the rest comes from `train`
  std::filesystem::path folder;
  bool tune = false;  ///< measure how to compute the convolutions, on a CPU, before the first step
};

/// A look at a training between two steps. The network has the EMA weights while a callback sees
/// it, is in eval mode and builds no graph; the raw weights are in the checkpoint.
struct TrainView {
  const TrainState& state;
  Network net;
  const TensorMap& ema;           ///< the network's state dict with the EMA weights
  const ProcessOptions& process;  ///< a learned schedule as it stands
  bool last;                      ///< the training ends here: budget spent or cancelled
  /// Shows a PNG file under `tag` in TensorBoard.
  std::function<void(const std::string& tag, const std::filesystem::path& png)> show;
};

struct TrainCallbacks {
  std::function<void()>
      on_begin;         ///< all checks passed, a checkpoint is loaded, the first step is next
  ProgressFn progress;  ///< after every step; unit "step", or "second" for a budget in minutes
  NoticeFn notice;
  std::function<void(const TrainView&)> on_checkpoint;  ///< after one was written, and at the end
  std::function<void(const TrainView&)> on_preview;  ///< every preview_every steps and at the end
};

/// The objective's loss with AdamW and EMA (DDPM Alg. 1). Everything random is a function of (seed,
/// step) or (seed, image position), so a run that is killed anywhere and resumed ends with the same
/// bits as one that is not, on the same device with the same number of threads. How convolutions
/// are computed is stored too, and stays unless `tune` measures it anew.
class Trainer {
 public:
  /// Throws Error (user) where options, network, process and data do not fit each other.
  explicit Trainer(TrainSetup setup);
  ~Trainer();

  TrainPlan plan() const;
  /// Seconds that one optimiser step takes here: the median of `steps` after one that warms up.
  /// Writes nothing; the network is changed by them.
  double seconds_per_step(int64_t steps = 3);

  /// Trains until the budget is spent and returns where it stands. `resume` continues from the
  /// newest checkpoint in the folder; without it a folder that holds checkpoints is refused. Throws
  /// Error: kInterrupted after a cancel (the step is finished and saved); kSystem when loss or
  /// gradient are not finite (nothing of that step is applied) or a write fails; kUser when the
  /// checkpoint is of another network or process, listing what differs.
  TrainState run(const TrainCallbacks& callbacks, const CancelToken& cancel, bool resume);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tweedie

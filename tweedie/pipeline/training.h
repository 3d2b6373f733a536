// A training from a config to a model folder.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tweedie/pipeline/config.h"
#include "tweedie/pipeline/model_folder.h"
#include "tweedie/train/trainer.h"

namespace tweedie {

/// Opens the data, builds the network and trains. The run folder holds the model (unet/,
/// scheduler/, tweedie.json: the EMA weights), config.json (every key resolved), checkpoints/,
/// log.jsonl, TensorBoard events and previews/.
class Training {
 public:
  /// Checks everything and writes nothing. `tune` as in TrainSetup. Throws Error (user) for what
  /// does not fit together.
  Training(Config config, std::filesystem::path folder, const std::string& device = "cpu",
           bool tune = false);

  const Config& config() const { return config_; }
  /// What one step takes on this machine, by a few that are thrown away, and the whole training.
  std::string time_needed();
  /// What is about to happen, a fact a line: data, parameters, memory, images, epochs, folder.
  std::vector<std::string> facts() const;

  /// Trains until the budget is spent; see Trainer::run for what it throws. The model folder is
  /// written at every checkpoint. `force` removes what an earlier run left in the folder.
  TrainState run(const ProgressFn& progress, const NoticeFn& notice, const CancelToken& cancel,
                 bool resume = false, bool force = false);

 private:
  void save(const TrainView& view) const;
  void preview(const TrainView& view, const CancelToken& cancel) const;
  ModelCard card(const TrainState& state) const;

  Config config_;
  std::filesystem::path folder_;
  DatasetPtr data_, heldout_;
  Network net_{nullptr};
  std::unique_ptr<Trainer> trainer_;
};

/// The config that the run in `folder` was started with. Throws Error (user) if there is none.
Config resumed_config(const std::filesystem::path& folder);

}  // namespace tweedie

// Whether the parts of a training fit each other, and whether a checkpoint fits the parts.
#pragma once
#include "tweedie/train/trainer.h"

namespace tweedie {

/// Throws Error (user), one line, for a setup that cannot train.
void check_setup(const TrainSetup& setup);

/// "train.batch_size 64 -> 128" for every key whose value is another one, `prefix` before each.
std::vector<std::string> differences(const Json& before, const Json& now,
                                     const std::string& prefix);

/// Throws Error (user) that lists what differs if `saved` is of another network or process than
/// `now`; tells `notice` of everything else that was changed.
void check_same(const TrainState& saved, const TrainState& now, const std::filesystem::path& run,
                const NoticeFn& notice);

}  // namespace tweedie

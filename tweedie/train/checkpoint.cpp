#include "tweedie/train/checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>

#include "tweedie/io/files.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

// The step in "step_123", or -1.
int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  int64_t step = -1;
  if (!name.starts_with("step_")) return -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + 5, end, step);
  return parsed.ec == std::errc() && parsed.ptr == end ? step : -1;
}

// Newest first.
std::vector<fs::path> checkpoints(const fs::path& run) {
  std::vector<fs::path> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error))
    if (entry.is_directory() && step_of(entry) >= 0) out.push_back(entry);
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return step_of(a) > step_of(b); });
  return out;
}

Checkpoint load(const fs::path& folder) {
  Checkpoint out;
  from_json(read_json(folder / "state.json"), out.state);
  if (out.state.step != step_of(folder))
    fail("[train] {}: state.json is of step {}", folder.string(), out.state.step);
  out.weights = read_safetensors(folder / "weights.safetensors");
  out.ema = read_safetensors(folder / "ema.safetensors");
  out.optimizer = read_safetensors(folder / "optimizer.safetensors");
  if (fs::exists(folder / "loss.safetensors"))
    out.loss = read_safetensors(folder / "loss.safetensors");
  return out;
}

}  // namespace

fs::path save_checkpoint(const fs::path& run, const Checkpoint& checkpoint, int64_t keep) {
  const fs::path folder = run / "checkpoints" / formatted("step_{}", checkpoint.state.step);
  write_folder(folder, [&](const fs::path& temporary) {
    write_safetensors(temporary / "weights.safetensors", checkpoint.weights);
    write_safetensors(temporary / "ema.safetensors", checkpoint.ema);
    write_safetensors(temporary / "optimizer.safetensors", checkpoint.optimizer);
    if (!checkpoint.loss.empty())
      write_safetensors(temporary / "loss.safetensors", checkpoint.loss);
    write_json(temporary / "state.json", to_json(checkpoint.state));
  });
  std::error_code error;  // one that stays is no harm
  for (const fs::path& old : checkpoints(run)) {
    // A later one was damaged and passed over: the training went on from before it.
    const bool later = step_of(old) > checkpoint.state.step;
    if (later || --keep < 0) fs::remove_all(old, error);
  }
  return folder;
}

Checkpoint load_newest_checkpoint(const fs::path& run, const NoticeFn& notice) {
  std::string reason = "it holds none";
  for (const fs::path& folder : checkpoints(run)) {
    try {
      return load(folder);
    } catch (const Error& e) {
      reason = e.what();
      if (notice) notice(formatted("{} is passed over: {}", folder.string(), reason));
    }
  }
  fail("[train] no checkpoint to resume from in {}: {}", (run / "checkpoints").string(), reason);
}

fs::path newest_checkpoint(const fs::path& run) {
  const auto all = checkpoints(run);
  return all.empty() ? fs::path() : all.front();
}

}  // namespace tweedie

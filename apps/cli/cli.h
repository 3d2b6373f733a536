// What the verbs share: the common flags, interruption, progress on standard error, results on
// standard output.
#pragma once
#include <CLI/CLI.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "tweedie/core/options.h"
#include "tweedie/core/progress.h"

namespace tweedie {
struct Model;
}

namespace tweedie::cli {

/// Flags that every verb has; add_common is called after the verb's own: of all of them it refuses
/// "" as a value, and of those that take whole numbers from 0 on a sign.
struct Common {
  bool json = false, quiet = false;
  std::string device = "cpu";
  int threads = 0;
};
extern Common common;
void add_common(CLI::App& verb);
/// Sets threads and device checks; call at the start of a verb.
void apply_common();

/// Set by Ctrl-C and SIGTERM; a second Ctrl-C kills.
CancelToken& interrupts();

/// A fact for the user on standard error, one line; silent with --quiet.
void notice(const std::string& line);
/// A line of result on standard output; silent with --json and --quiet.
void print(const std::string& line);
/// JSON on one line; bytes that are not UTF-8 are replaced.
std::string text_of(const Json& json);
/// The one JSON object of --json, on standard output.
void print_json(const Json& json);

/// A bar with rate, ETA and values on a terminal, a line every ten seconds elsewhere. Silent with
/// --quiet.
class ProgressBar {
 public:
  explicit ProgressBar(std::string label) : label_(std::move(label)) {}
  ~ProgressBar() { finish(); }
  void operator()(const Progress& progress);
  /// Ends the line, so that other output starts on its own.
  void finish();

 private:
  std::string label_;
  bool open_ = false;
  std::chrono::steady_clock::time_point last_{};
};

/// "1:05:09", "4:20", "9 s"
std::string duration(double seconds);
std::string file_size(double bytes);
/// "Dress,none": as --class takes them.
std::string class_names(const Model& model, const std::vector<int64_t>& classes);

/// Refuses a flag of the CPU's kernels on another device.
void require_cpu(const char* flag);
/// Refuses what exists (unless `force`) and a place that cannot be written, before the work.
void require_free(const std::string& path, bool force);
/// The same of several, each by its flag and path ("" where it is not given), and that no two are
/// the same file. What lies inside another, which then is a folder, goes with it.
using Outputs = std::vector<std::pair<const char*, std::string>>;
void require_free(const Outputs& outputs, bool force);
/// Refuses the name of a picture for what holds tensors.
void require_tensor_file(const char* flag, const std::string& path);

void add_train(CLI::App& app);
void add_sample(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_info(CLI::App& app);
void add_interpolate(CLI::App& app);
void add_invert(CLI::App& app);
void add_list(CLI::App& app);
void add_plot(CLI::App& app);

}  // namespace tweedie::cli

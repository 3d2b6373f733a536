#include "cli.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>

#include "tweedie/io/files.h"
#include "tweedie/io/image.h"
#include "tweedie/pipeline/generate.h"

namespace fs = std::filesystem;

namespace tweedie::cli {
namespace {

std::string clear_line() { return "\r\x1b[K"; }
bool g_bar_open = false;

extern "C" void on_signal(int signal) {
  interrupts().cancel();
  std::signal(signal, SIG_DFL);
}

// Each word of an option's.
std::string fault_of(const std::string& word, bool natural) {
  if (word.empty()) return "expected a value, and it is empty";
  return natural && word[0] == '-' ? formatted("{}: expected a whole number from 0 on", word) : "";
}

}  // namespace

Common common;

void add_common(CLI::App& verb) {
  for (CLI::Option* option : verb.get_options()) {
    const bool natural = option->get_type_name().starts_with("UINT");
    if (option->get_items_expected_max() > 0)
      option->check([natural](const std::string& word) { return fault_of(word, natural); });
  }
  verb.add_flag("--json", common.json, "one JSON object on standard output, nothing else there");
  verb.add_flag("--quiet", common.quiet, "no progress, no notices; an error is one line");
  verb.add_option("--device", common.device, "cpu or cuda")->capture_default_str();
  verb.add_option("--threads", common.threads, "CPU threads (0: all cores)")->capture_default_str();
}

void apply_common() {
  if (common.threads < 0 || common.threads > 1024)
    fail("--threads {}: expected 1..1024, or 0 for all cores", common.threads);
  if (common.threads > 0) at::set_num_threads(common.threads);
  device_of(common.device);
}

CancelToken& interrupts() {
  static CancelToken token = [] {
    // A closed pipe and a file over the limit are failed writes, reported as such.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    return CancelToken();
  }();
  static const bool installed = [] {
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    return true;
  }();
  (void)installed;
  return token;
}

void notice(const std::string& line) {
  if (common.quiet) return;
  if (g_bar_open) std::fputs(clear_line().c_str(), stderr);
  std::fprintf(stderr, "%s\n", line.c_str());
}

void print(const std::string& line) {
  if (common.json || common.quiet) return;
  if (g_bar_open) std::fputs(clear_line().c_str(), stderr);
  if (std::printf("%s\n", line.c_str()) < 0)
    fail_system("standard output: {}", std::strerror(errno));
}

// A path need not be UTF-8.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void print_json(const Json& json) {
  if (std::printf("%s\n", text_of(json).c_str()) < 0)
    fail_system("standard output: {}", std::strerror(errno));
}

std::string duration(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 10) return formatted("{:.1f} s", seconds);
  const long whole = std::lround(seconds);
  if (whole < 60) return formatted("{} s", whole);
  if (whole < 3600) return formatted("{}:{:02}", whole / 60, whole % 60);
  return formatted("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string file_size(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) bytes /= 1000, ++unit;
  return formatted("{:.{}f} {}", bytes, bytes < 10 && unit > 0 ? 1 : 0, units[unit]);
}

std::string class_names(const Model& model, const std::vector<int64_t>& classes) {
  std::vector<std::string> names;
  for (const int64_t index : classes) names.push_back(class_name(model, index));
  return formatted("{}", fmt::join(names, ","));
}

void ProgressBar::operator()(const Progress& p) {
  if (common.quiet) return;
  const auto now = std::chrono::steady_clock::now();
  const bool terminal = isatty(STDERR_FILENO);
  const bool last = p.total > 0 && p.done >= p.total;
  const auto pause = terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (!last && last_.time_since_epoch().count() && now - last_ < pause) return;
  last_ = now;

  std::string line = label_;
  if (p.total > 0) {
    const int64_t done = std::min(p.done, p.total);  // a step can end after its minutes
    const double share = static_cast<double>(done) / static_cast<double>(p.total);
    if (terminal) {
      const int width = 24, full = static_cast<int>(share * width);
      line += " [" + std::string(full, '#') + std::string(width - full, '.') + "]";
    }
    line += formatted(" {}/{} {}s", p.done, p.total, p.unit);
    if (p.seconds > 0 && done > 0)
      line += formatted("  {:.3g}/s  ETA {}", p.done / p.seconds,
                        duration(p.seconds / done * (p.total - done)));
  } else {
    line += formatted(" {} {}s  {}", p.done, p.unit, duration(p.seconds));
  }
  for (const auto& [name, value] : p.values) line += formatted("  {} {:.4g}", name, value);
  if (terminal) {
    std::fprintf(stderr, "%s%s", clear_line().c_str(), line.c_str());
    std::fflush(stderr);
    open_ = g_bar_open = true;
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

void ProgressBar::finish() {
  if (open_) std::fputs("\n", stderr);
  open_ = g_bar_open = false;
}

void require_cpu(const char* flag) {
  if (common.device != "cpu") fail("{}: is about a CPU; --device is {}", flag, common.device);
}

void require_free(const std::string& path, bool force) {
  std::error_code error;
  if (!force && fs::exists(path, error) &&
      !(fs::is_directory(path, error) && fs::is_empty(path, error)))
    fail("{}: exists already; choose another name, or --force to replace it", path);
  if (fs::is_directory(path, error)) return require_writable(path);
  const fs::path folder = fs::path(path).parent_path();
  require_writable(folder.empty() ? "." : folder);
}

void require_free(const Outputs& outputs, bool force) {
  std::map<fs::path, const char*> seen;
  for (const auto& [flag, path] : outputs) {
    if (path.empty()) continue;
    const fs::path whole = fs::weakly_canonical(fs::absolute(path));
    const auto [other, fresh] = seen.emplace(whole, flag);
    if (!fresh) fail("{}: {} and {} would both write this file", path, other->second, flag);
    const auto folder = seen.find(whole.parent_path());
    if (folder != seen.end() && is_image_file(folder->first))
      fail("{} {}: lies inside what {} makes, which is a picture", flag, path, folder->second);
    if (folder == seen.end()) require_free(path, force);
  }
}

void require_tensor_file(const char* flag, const std::string& path) {
  if (is_image_file(path))
    fail("{} {}: holds tensors, not a picture; known: .safetensors", flag, path);
}

}  // namespace tweedie::cli

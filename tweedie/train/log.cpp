#include "tweedie/train/log.h"

#include <cerrno>
#include <cstring>
#include <sstream>

#include "tweedie/io/files.h"

namespace tweedie {
namespace {

void cut(const std::filesystem::path& file, int64_t step) {
  if (!std::filesystem::exists(file)) return;
  const std::string text = read_file(file);
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number()) continue;
    if (json["step"].get<int64_t>() <= step) kept += line + "\n";
  }
  if (kept != text) write_file(file, kept);
}

}  // namespace

TrainLog::TrainLog(std::filesystem::path file, int64_t step) : file_(std::move(file)) {
  cut(file_, step);
  out_.open(file_, std::ios::binary | std::ios::app);
  if (!out_) fail_system("[train] {}: cannot be opened: {}", file_.string(), std::strerror(errno));
}

void TrainLog::write(const Json& line) {
  out_ << line.dump() << std::endl;
  if (!out_) fail_system("[train] {}: cannot be written: {}", file_.string(), std::strerror(errno));
}

}  // namespace tweedie

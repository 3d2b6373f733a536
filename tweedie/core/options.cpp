#include "tweedie/core/options.h"

namespace tweedie::options_detail {

std::string excerpt(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

void wrong_type(const std::string& path, const char* expected, const Json& value) {
  fail("[config] {}: expected {}, got {}", path.empty() ? "top level" : path, expected,
       excerpt(value));
}

void check(const std::string& path, double value, const Rule& rule) {
  if (value >= rule.low && value <= rule.high) return;
  if (std::isinf(rule.high))
    fail("[config] {}: {} is below the least value, {}", path, value, rule.low);
  fail("[config] {}: {} is outside {}..{}", path, value, rule.low, rule.high);
}

void check(const std::string& path, const std::string& value, const Rule& rule) {
  if (rule.choices.empty()) return;
  for (const std::string& choice : rule.choices)
    if (value == choice) return;
  fail_unknown(path, value, rule.choices);
}

void unknown_key(const std::string& path, const std::string& key, std::vector<std::string> known) {
  const std::string prefix = path.empty() ? "" : path + ".";
  for (std::string& name : known) name = prefix + name;
  fail_unknown("config key", prefix + key, known);
}

Json assignment(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    fail("--set '{}': expected key=value, such as train.steps=2000", text);
  const std::string value = text.substr(equals + 1);
  Json json = Json::parse(value, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) json = value;
  std::string path = text.substr(0, equals);
  while (true) {
    const size_t dot = path.rfind('.');
    Json outer = Json::object();
    outer[dot == std::string::npos ? path : path.substr(dot + 1)] = std::move(json);
    json = std::move(outer);
    if (dot == std::string::npos) return json;
    path.resize(dot);
  }
}

}  // namespace tweedie::options_detail

// Options are plain structs whose fields are declared once, through a visitor that serves JSON,
// --set and help:
//
//   struct DdimOptions {
//     double eta = 0;
//     template <class Self, class Field> static void visit(Self& self, Field&& field) {
//       field("eta", self.eta, "0 is the deterministic ODE, 1 the ancestral chain", between(0, 1));
//     }
//   };
//
// A field is a bool, int64_t, double, std::string, another such struct, a Json, or a std::vector or
// std::optional of these. JSON null is an empty optional; a key that is absent keeps the default.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "tweedie/core/error.h"

namespace tweedie {

using Json = nlohmann::ordered_json;

/// What a field's value must obey, checked whenever it is read.
struct Rule {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;
};
inline Rule between(double low, double high) { return {low, high, {}}; }
inline Rule at_least(double low) { return {low, std::numeric_limits<double>::infinity(), {}}; }
inline Rule one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

namespace options_detail {

template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

struct Nothing {
  template <class... Args>
  void operator()(const char*, Args&&...) {}
};
template <class T>
concept Visitable = requires(T& t, Nothing n) {
  T::visit(t, n);
};

std::string excerpt(const Json& value);
[[noreturn]] void wrong_type(const std::string& path, const char* expected, const Json& value);
void check(const std::string& path, double value, const Rule& rule);
void check(const std::string& path, const std::string& value, const Rule& rule);
[[noreturn]] void unknown_key(const std::string& path, const std::string& key,
                              std::vector<std::string> known);
/// "a.b=VALUE" as the JSON {"a": {"b": VALUE}}; a VALUE that is not JSON is a string.
Json assignment(const std::string& text);

}  // namespace options_detail

/// The names of the fields of T in order of declaration.
template <class T>
std::vector<std::string> field_names() {
  std::vector<std::string> names;
  T blank{};
  T::visit(blank, [&](const char* name, auto&&...) { names.push_back(name); });
  return names;
}

template <class T>
Json to_json(const T& value) {
  using namespace options_detail;
  if constexpr (is_optional<T>::value) {
    return value ? to_json(*value) : Json(nullptr);
  } else if constexpr (is_vector<T>::value) {
    Json array = Json::array();
    for (const auto& item : value) array.push_back(to_json(item));
    return array;
  } else if constexpr (Visitable<const T>) {
    Json object = Json::object();
    T::visit(value, [&](const char* name, const auto& field, auto&&...) {
      object[name] = to_json(field);
    });
    return object;
  } else {
    return value;
  }
}

/// Reads `json` over the values that `value` has. `path` names it in messages ("train.steps").
/// Throws Error for another type, an unknown key or a value outside its rule.
template <class T>
void from_json(const Json& json, T& value, const std::string& path = "", const Rule& rule = {}) {
  using namespace options_detail;
  if constexpr (is_optional<T>::value) {
    if (json.is_null()) {
      value.reset();
    } else {
      typename T::value_type inner = value ? *value : typename T::value_type{};
      from_json(json, inner, path, rule);
      value = std::move(inner);
    }
  } else if constexpr (is_vector<T>::value) {
    if (!json.is_array()) wrong_type(path, "a list", json);
    T items(json.size());
    for (size_t i = 0; i < items.size(); ++i) {
      typename T::value_type item{};
      from_json(json[i], item, formatted("{}[{}]", path, i), rule);
      items[i] = std::move(item);
    }
    value = std::move(items);
  } else if constexpr (std::is_same_v<T, Json>) {
    value = json;
  } else if constexpr (Visitable<T>) {
    if (!json.is_object()) wrong_type(path, "an object", json);
    const std::vector<std::string> known = field_names<T>();
    for (const auto& [key, unused] : json.items())
      if (std::find(known.begin(), known.end(), key) == known.end()) unknown_key(path, key, known);
    T::visit(value, [&](const char* name, auto& field, const char*, const Rule& field_rule = {}) {
      const auto found = json.find(name);
      if (found == json.end()) return;
      from_json(*found, field, path.empty() ? name : path + "." + name, field_rule);
    });
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) wrong_type(path, "true or false", json);
    value = json.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    const bool whole = json.is_number_float() &&
                       std::floor(json.get<double>()) == json.get<double>() &&
                       std::abs(json.get<double>()) < 9e15;
    if (!json.is_number_integer() && !whole) wrong_type(path, "a whole number", json);
    if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX})
      wrong_type(path, "a whole number below 2^63", json);
    value = whole ? static_cast<T>(json.get<double>()) : json.get<T>();
    check(path, static_cast<double>(value), rule);
  } else if constexpr (std::is_floating_point_v<T>) {
    if (!json.is_number()) wrong_type(path, "a number", json);
    value = json.get<T>();
    check(path, value, rule);
  } else {
    static_assert(std::is_same_v<T, std::string>, "a field of a kind that options do not have");
    if (!json.is_string()) wrong_type(path, "a string", json);
    value = json.get<std::string>();
    check(path, value, rule);
  }
}

/// `--set a.b=VALUE`: VALUE is JSON, or a string if it does not parse as JSON.
template <class T>
void set_field(T& value, const std::string& assignment_text) {
  from_json(options_detail::assignment(assignment_text), value);
}

/// The documentation of a field: {"train.steps", "100", "optimiser steps"}.
struct FieldDoc {
  std::string path, value, doc;
  std::vector<std::string> choices = {};  ///< if it takes one of a few names: those of its rule
  std::string kind = {};  ///< where a part is of one of several kinds: whose field it is
};
template <class T>
void describe_fields(const T& value, std::vector<FieldDoc>& out, const std::string& prefix = "") {
  T::visit(value, [&](const char* name, const auto& field, const char* doc, const Rule& rule = {}) {
    using Field = std::decay_t<decltype(field)>;
    if constexpr (options_detail::Visitable<const Field>) {
      describe_fields(field, out, prefix + name + ".");
    } else {
      out.push_back({prefix + name, to_json(field).dump(), doc, rule.choices});
    }
  });
}

}  // namespace tweedie

// JSON text that may come from anywhere.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tweedie {

/// Parses the whole text. Throws Error (user), "SOURCE:LINE: reason", for what is not JSON, for a
/// key that an object has twice, nesting beyond 200 and an object of more than `most_keys` keys.
/// AnyJson is Json (keeps the order; each insertion is linear, hence the limit) or nlohmann::json.
template <class AnyJson>
AnyJson parse_json(std::string_view text, const std::string& source, size_t most_keys = 20'000);

/// A foreign string fit for a one-line message: quoted, escaped, cut at 80 characters.
std::string in_quotes(const std::string& text);

}  // namespace tweedie

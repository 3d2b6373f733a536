#include "tweedie/io/json.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <vector>

#include "tweedie/core/options.h"

namespace tweedie {
namespace {

constexpr int kDeepest = 200;

// Tells how far the parser has read, which its handler is not told.
struct Reading {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at = nullptr;
  const char** furthest = nullptr;

  reference operator*() const { return *at; }
  Reading& operator++() {
    *furthest = ++at;
    return *this;
  }
  bool operator==(const Reading& other) const { return at == other.at; }
};

struct Place {
  const std::string& source;
  std::string_view text;
  const char* furthest;

  std::string str() const {
    return formatted("{}:{}", source, 1 + std::count(text.data(), furthest, '\n'));
  }
};

// Builds the value as the parser would, and watches keys and depth. (The parser's own callback
// would do, but with it every object costs a walk over all its elder siblings.)
template <class AnyJson>
class CheckedBuilder : public nlohmann::detail::json_sax_dom_parser<AnyJson> {
  using Base = nlohmann::detail::json_sax_dom_parser<AnyJson>;

 public:
  CheckedBuilder(AnyJson& out, const Place& place, size_t most_keys)
      : Base(out), place_(place), most_keys_(most_keys) {}

  bool start_object(size_t size) {
    descend();
    keys_.emplace_back();
    return Base::start_object(size);
  }
  bool end_object() {
    --depth_;
    keys_.pop_back();
    return Base::end_object();
  }
  bool start_array(size_t size) {
    descend();
    return Base::start_array(size);
  }
  bool end_array() {
    --depth_;
    return Base::end_array();
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second)
      fail("{}: key {} twice", place_.str(), tweedie::in_quotes(name));
    if (keys_.back().size() > most_keys_)
      fail("{}: an object of more than {} keys", place_.str(), most_keys_);
    return Base::key(name);
  }

 private:
  void descend() {
    if (++depth_ > kDeepest) fail("{}: nested deeper than {}", place_.str(), kDeepest);
  }

  const Place& place_;
  size_t most_keys_;
  int depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects being read, outermost first
};

// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ..." without its
// head.
std::string reason_of(const std::exception& error) {
  const std::string text = error.what();
  const size_t column = text.find("column ");
  const size_t start = column == std::string::npos ? text.find("] ") : text.find(": ", column);
  std::string reason = start == std::string::npos ? text : text.substr(start + 2);
  std::replace_if(
      reason.begin(), reason.end(), [](unsigned char c) { return c < 32 || c == 127; }, ' ');
  return reason;
}

}  // namespace

std::string in_quotes(const std::string& text) {
  std::string line = Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
  if (line.size() > 80) line = line.substr(0, 76) + "...\"";
  line.front() = line.back() = '\'';
  return line;
}

template <class AnyJson>
AnyJson parse_json(std::string_view text, const std::string& source, size_t most_keys) {
  Place place{source, text, text.data()};
  // The parser takes a NUL for the end of the text.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    place.furthest = text.data() + nul;
    fail("{}: a NUL byte in JSON", place.str());
  }
  AnyJson json;
  CheckedBuilder<AnyJson> builder(json, place, most_keys);
  try {
    AnyJson::sax_parse(Reading{text.data(), &place.furthest},
                       Reading{text.data() + text.size(), &place.furthest}, &builder);
  } catch (const nlohmann::json::exception& error) {
    fail("{}: {}", place.str(), reason_of(error));
  }
  return json;
}

template nlohmann::json parse_json(std::string_view, const std::string&, size_t);
template Json parse_json(std::string_view, const std::string&, size_t);

}  // namespace tweedie

#include "tweedie/core/error.h"

#include <algorithm>
#include <utility>

namespace tweedie {
namespace {

// What is named otherwise elsewhere.
constexpr std::pair<std::string_view, const char*> kAliases[] = {{"cosine", "squaredcos_cap_v2"}};

// Edit distance with optimal string alignment: a letter too many, one missing or two swapped count
// 2, a wrong one 3, so that 'dimm' is nearer to ddim than to ddpm.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = 2 * j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = 2 * i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 2, row[j - 1] + 2, last[j - 1] + 3 * (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 2);
    }
    before = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string nearest(std::string_view value, const std::vector<std::string>& known) {
  for (const auto& [alias, name] : kAliases)
    if (value == alias && std::find(known.begin(), known.end(), name) != known.end()) return name;
  std::string best;
  size_t best_distance = 3 * ((value.size() + 2) / 3) + 1;
  for (const std::string& word : known) {
    const size_t d = distance(value, word);
    if (d < best_distance) best_distance = d, best = word;
  }
  return best;
}

std::string unknown_message(std::string_view what, std::string_view value,
                            const std::vector<std::string>& known) {
  const std::string guess = nearest(value, known);
  return formatted("unknown {} '{}'; {}known: {}", what, value,
                   guess.empty() ? "" : "did you mean " + guess + "? ", fmt::join(known, ", "));
}

void fail_unknown(std::string_view what, std::string_view value,
                  const std::vector<std::string>& known) {
  throw Error(Error::Kind::kUser, unknown_message(what, value, known));
}

}  // namespace tweedie

// Numbers between commas, a point a line.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "tweedie/core/rng.h"
#include "tweedie/data/points.h"
#include "tweedie/data/sources.h"
#include "tweedie/io/files.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

struct Line {
  int64_t number;  // from 1
  std::string text;
  std::vector<std::string> fields;
};

std::string trimmed(std::string text) {
  const size_t from = text.find_first_not_of(" \t\r"), to = text.find_last_not_of(" \t\r");
  return from == std::string::npos ? "" : text.substr(from, to - from + 1);
}

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> fields;
  for (size_t from = 0;;) {
    const size_t comma = text.find(',', from);
    fields.push_back(trimmed(text.substr(from, comma - from)));
    if (comma == std::string::npos) return fields;
    from = comma + 1;
  }
}

// Empty lines are passed over.
std::vector<Line> lines_of(const fs::path& file) {
  std::string bytes = read_file(file);
  if (bytes.starts_with("\xef\xbb\xbf")) bytes.erase(0, 3);  // UTF-8 with its mark, as Excel writes
  std::vector<Line> lines;
  int64_t number = 0;
  for (size_t from = 0; from < bytes.size(); ++number) {
    const size_t end = std::min(bytes.find('\n', from), bytes.size());
    const std::string text = trimmed(bytes.substr(from, end - from));
    if (!text.empty()) lines.push_back({number + 1, text, split_at_commas(text)});
    from = end + 1;
  }
  return lines;
}

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const char *from = text.data(), *to = from + text.size();
  const auto [end, error] = std::from_chars(from, to, value);
  if (error != std::errc() || end != to) return {};
  return value;
}

bool is_header(const Line& line) {
  return std::none_of(line.fields.begin(), line.fields.end(),
                      [](const std::string& field) { return number_in(field).has_value(); });
}

void check_names(const std::vector<std::string>& columns, const fs::path& file) {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].empty()) fail("[data] {}: column {} has no name", file.string(), i + 1);
    if (std::find(columns.begin(), columns.begin() + static_cast<std::ptrdiff_t>(i), columns[i]) !=
        columns.begin() + static_cast<std::ptrdiff_t>(i))
      fail("[data] {}: two columns are named {}", file.string(), columns[i]);
  }
}

// What a file says, with the text of each row, which decides where the row belongs.
struct Table {
  Points points;
  std::vector<std::string> rows;
};

Table read_table(const fs::path& file) {
  std::vector<Line> lines = lines_of(file);
  Table table;
  Points& points = table.points;
  bool labelled = false;
  if (!lines.empty() && is_header(lines.front())) {
    points.space.columns = lines.front().fields;
    labelled = points.space.columns.back() == "label";
    if (labelled) points.space.columns.pop_back();
    check_names(points.space.columns, file);
    lines.erase(lines.begin());
  } else if (!lines.empty()) {
    for (size_t i = 0; i < lines.front().fields.size(); ++i)
      points.space.columns.push_back(formatted("column {}", i + 1));
  }
  if (lines.empty()) fail("[data] {}: no points: a line of numbers each", file.string());
  if (points.space.columns.empty()) fail("[data] {}: a label and no numbers", file.string());

  const size_t D = points.space.columns.size(), fields = D + (labelled ? 1 : 0);
  std::map<std::string, int64_t> classes;
  for (const Line& line : lines)
    if (labelled && line.fields.size() == fields) classes[line.fields.back()] = 0;
  for (auto& [name, index] : classes) {
    index = static_cast<int64_t>(points.classes.size());
    points.classes.push_back(name);
  }
  for (const Line& line : lines) {
    if (line.fields.size() != fields)
      fail("[data] {}:{}: {} fields where {} belong", file.string(), line.number,
           line.fields.size(), fields);
    if (labelled && line.fields.back().empty())
      fail("[data] {}:{}: the label is empty", file.string(), line.number);
    for (size_t i = 0; i < D; ++i) {
      const std::optional<double> value = number_in(line.fields[i]);
      if (!value || !std::isfinite(*value))
        fail("[data] {}:{}: '{}' is not a finite number ({})", file.string(), line.number,
             line.fields[i], points.space.columns[i]);
      points.values.push_back(*value);
    }
    if (labelled) points.labels.push_back(classes.at(line.fields.back()));
    table.rows.push_back(line.text);
  }
  return table;
}

// Mean and standard deviation of each column.
void measure(Points& points, const fs::path& file) {
  const size_t D = points.space.columns.size();
  const double n = static_cast<double>(points.size());
  for (size_t d = 0; d < D; ++d) {
    double sum = 0, squares = 0;
    for (size_t i = d; i < points.values.size(); i += D) sum += points.values[i];
    for (size_t i = d; i < points.values.size(); i += D)
      squares += (points.values[i] - sum / n) * (points.values[i] - sum / n);
    if (!(squares > 0))
      fail("[data] {}: {} is the same in every line: leave it out", file.string(),
           points.space.columns[d]);
    if (!std::isfinite(squares))
      fail("[data] {}: the numbers of {} are too large for a standard deviation", file.string(),
           points.space.columns[d]);
    points.space.center.push_back(sum / n);
    points.space.scale.push_back(std::sqrt(squares / n));
  }
}

// The rows that `keep` wants.
Points rows_of(const Table& table, const std::vector<bool>& keep) {
  const Points& all = table.points;
  Points out{.space = all.space, .classes = all.classes};
  const auto D = static_cast<std::ptrdiff_t>(all.space.columns.size());
  for (size_t i = 0; i < keep.size(); ++i) {
    if (!keep[i]) continue;
    const auto first = all.values.begin() + static_cast<std::ptrdiff_t>(i) * D;
    out.values.insert(out.values.end(), first, first + D);
    if (!all.labels.empty()) out.labels.push_back(all.labels[i]);
  }
  return out;
}

}  // namespace

DatasetPtr open_csv(const fs::path& file, Split split, double holdout) {
  Table table = read_table(file);
  measure(table.points, file);  // all of it, that both parts share the space
  std::vector<bool> keep;
  for (const std::string& row : table.rows) {
    const bool test = std::ldexp(stream_of(row), -64) < holdout;
    keep.push_back(split == Split::kAll || test == (split == Split::kTest));
  }
  Points points = rows_of(table, keep);
  const std::string name = "points:" + file.string() + "@" + split_name(split);
  if (points.size() == 0 && split == Split::kTest)
    throw AbsentPart(
        formatted("[data] {}: no points are held out (data.holdout is {}, the file has {})", name,
                  holdout, counted(table.points.size(), "point", "points")));
  if (points.size() == 0) fail("[data] {}: no points are left to train on", name);
  return std::make_shared<PointDataset>(name, std::move(points));
}

}  // namespace tweedie

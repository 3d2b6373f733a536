// From "SPEC@split" or a plain path to a dataset.
#include <filesystem>

#include "tweedie/core/error.h"
#include "tweedie/data/points.h"
#include "tweedie/data/sources.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

const std::vector<std::string> kKinds = {
    "fashion-mnist",           "idx:DIR",        "cifar10:DIR", "folder:DIR", "shapes[:SIZE]",
    "points:NAME or FILE.csv", "a folder's path"};

struct Spec {
  std::string kind, rest;
  bool has_rest = false;
};

Spec parse_kind(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return {text, "", false};
  return {text.substr(0, colon), text.substr(colon + 1), true};
}

bool present(const fs::path& path) {
  std::error_code error;  // a name too long for the system is not there either
  return fs::exists(path, error);
}

// Takes "@train", "@test" or "@all" off the end; a path with an '@' of its own stays as it is.
Split take_split(std::string& text, Split otherwise) {
  const size_t at = text.rfind('@');
  if (at == std::string::npos || text.find('/', at) != std::string::npos) return otherwise;
  const std::string word = text.substr(at + 1);
  for (const Split split : {Split::kTrain, Split::kTest, Split::kAll})
    if (word == split_name(split)) {
      text.resize(at);
      return split;
    }
  if (present(text) || present(parse_kind(text).rest)) return otherwise;
  fail("[data] {}: {}", text, unknown_message("split", word, {"train", "test", "all"}));
}

fs::path require_folder(const std::string& spec, const std::string& folder) {
  if (folder.empty()) fail("[data] {}: a folder belongs after the colon", spec);
  if (!present(folder)) fail("[data] {}: no such folder: {}", spec, folder);
  if (!fs::is_directory(folder)) fail("[data] {}: not a folder: {}", spec, folder);
  return folder;
}

[[noreturn]] void fail_unknown_spec(const std::string& text, const std::string& kind) {
  const std::string guess =
      nearest(kind, {"fashion-mnist", "idx", "cifar10", "folder", "shapes", "points"});
  fail("[data] unknown dataset '{}' (and no such folder); {}known: {}", text,
       guess.empty() ? "" : "did you mean " + guess + "? ", fmt::join(kKinds, ", "));
}

DatasetPtr open_points(const std::string& spec, const std::string& rest, Split split,
                       double holdout) {
  if (!rest.ends_with(".csv")) return open_named_points(rest, split);
  if (!present(rest)) fail("[data] {}: no such file: {}", spec, rest);
  return open_csv(rest, split, holdout);
}

DatasetPtr open_path(const fs::path& folder, Split split, double holdout) {
  if (!fs::is_directory(folder))
    fail("[data] {}: a file; a dataset is a folder or one of: {}", folder.string(),
         fmt::join(kKinds, ", "));
  if (has_idx(folder)) return open_idx("idx:" + folder.string(), folder, split);
  if (has_cifar10(folder)) return open_cifar10(folder, split);
  if (has_images(folder)) return open_folder(folder, split, holdout);
  fail("[data] {}: no IDX files, no CIFAR-10 batches and no PNG, JPEG or WebP in this folder",
       folder.string());
}

}  // namespace

std::string split_name(Split split) {
  return split == Split::kTrain ? "train" : split == Split::kTest ? "test" : "all";
}

std::string counted(int64_t n, const std::string& one, const std::string& many) {
  return formatted("{} {}", n, n == 1 ? one : many);
}

DatasetPtr open_heldout(const DatasetRequest& request) {
  DatasetRequest test = request;
  if (take_split(test.spec, Split::kTrain) != Split::kTrain) return nullptr;
  test.spec += "@test";
  try {
    return open_dataset(test);
  } catch (const AbsentPart&) {
    return nullptr;
  }
}

DatasetPtr open_dataset(const DatasetRequest& request) {
  if (!(request.holdout >= 0 && request.holdout < 1))
    fail("[data] holdout {}: at least 0 and below 1", request.holdout);
  std::string text = request.spec;
  const Split split = take_split(text, request.split);
  const auto [kind, rest, has_rest] = parse_kind(text);
  if (kind == "fashion-mnist" && !has_rest) return open_fashion_mnist(split);
  if (kind == "shapes") {
    if (has_rest && rest.empty())
      fail("[data] {}: a size such as 32 or 32x48 belongs after the colon", text);
    return open_shapes(rest, split);
  }
  if (has_rest && kind == "points") return open_points(text, rest, split, request.holdout);
  if (has_rest && kind == "idx") return open_idx(text, require_folder(text, rest), split);
  if (has_rest && kind == "cifar10") return open_cifar10(require_folder(text, rest), split);
  if (has_rest && kind == "folder")
    return open_folder(require_folder(text, rest), split, request.holdout);
  if (!text.empty() && present(text)) return open_path(text, split, request.holdout);
  if (kind == "points")
    fail("[data] '{}': the form is points:NAME or points:FILE.csv; names: {}", text,
         fmt::join(point_names(), ", "));
  if (kind == "idx" || kind == "cifar10" || kind == "folder")
    fail("[data] '{}': the form is {}:DIR", text, kind);
  fail_unknown_spec(text, kind);
}

}  // namespace tweedie

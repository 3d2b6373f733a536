#include "tweedie/data/folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "tweedie/core/error.h"
#include "tweedie/core/rng.h"
#include "tweedie/data/sources.h"

namespace tweedie {
namespace fs = std::filesystem;
namespace {

// Relative paths of the pictures below a folder, sorted so that no file system's order matters.
struct Listing {
  std::vector<std::string> pictures, skipped;
};

bool hidden(const fs::path& path) { return path.filename().string().front() == '.'; }

Listing list_pictures(const fs::path& root) {
  Listing listing;
  std::error_code error;
  fs::recursive_directory_iterator at(root, error), end;
  for (; !error && at != end; at.increment(error)) {
    const std::string relative = at->path().lexically_relative(root).generic_string();
    if (hidden(at->path())) {
      at.disable_recursion_pending();
      continue;
    }
    std::error_code unreadable;  // a link to itself, say
    if (at->is_symlink() && at->is_directory(unreadable)) {
      listing.skipped.push_back(relative + ": links to folders are not followed");
    } else if (is_image_file(at->path())) {
      if (at->is_regular_file(unreadable))
        listing.pictures.push_back(relative);
      else if (unreadable)
        listing.skipped.push_back(relative + ": " + unreadable.message());
    }
  }
  if (error) fail("[data] {}: cannot be listed: {}", root.string(), error.message());
  std::sort(listing.pictures.begin(), listing.pictures.end());
  std::sort(listing.skipped.begin(), listing.skipped.end());
  return listing;
}

// The first folder of a relative path, or "" for a file at the top.
std::string first_level(const std::string& relative) {
  const size_t slash = relative.find('/');
  return slash == std::string::npos ? "" : relative.substr(0, slash);
}

// Folder names as classes; none if any picture lies beside the folders.
std::vector<std::string> class_names(const std::vector<std::string>& pictures) {
  std::set<std::string> names;
  for (const std::string& picture : pictures) names.insert(first_level(picture));
  if (names.count("")) return {};
  return {names.begin(), names.end()};
}

// The pictures held out: those whose hash falls below the share, and at least one of two or more.
std::set<std::string> held_out(const std::vector<std::string>& pictures, double share) {
  std::set<std::string> out;
  if (share == 0) return out;
  const auto hash = [](const std::string& p) { return std::ldexp(stream_of(p), -64); };
  for (const std::string& picture : pictures)
    if (hash(picture) < share) out.insert(picture);
  if (pictures.size() < 2) return {};
  const auto [least, most] =
      std::minmax_element(pictures.begin(), pictures.end(),
                          [&](const auto& a, const auto& b) { return hash(a) < hash(b); });
  if (out.empty()) out.insert(*least);
  if (out.size() == pictures.size()) out.erase(*most);
  return out;
}

// Splits that the user made: folder/train and folder/test.
struct Parts {
  std::vector<std::string> pictures;  // relative to the folder
  std::vector<std::string> classes, skipped;
};

Parts own_splits(const fs::path& folder, Split split) {
  Parts parts;
  std::vector<std::string> inside_both;
  for (const Split part : {Split::kTrain, Split::kTest}) {
    const std::string name = split_name(part);
    const Listing listing = list_pictures(folder / name);
    inside_both.insert(inside_both.end(), listing.pictures.begin(), listing.pictures.end());
    if (split != Split::kAll && split != part) continue;
    for (const std::string& picture : listing.pictures)
      parts.pictures.push_back(name + "/" + picture);
    for (const std::string& line : listing.skipped) parts.skipped.push_back(name + "/" + line);
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (hidden(entry.path()) || name == "train" || name == "test") continue;
    std::error_code ignored;
    if (entry.is_directory(ignored) ? has_images(entry.path()) : is_image_file(entry.path()))
      parts.skipped.push_back(name + ": lies beside train/ and test/");
  }
  parts.classes = class_names(inside_both);
  return parts;
}

Parts hashed_splits(const fs::path& folder, Split split, double holdout) {
  const Listing listing = list_pictures(folder);
  Parts parts{{}, class_names(listing.pictures), listing.skipped};
  const std::set<std::string> out = held_out(listing.pictures, holdout);
  for (const std::string& picture : listing.pictures)
    if (split == Split::kAll || (split == Split::kTest) == (out.count(picture) > 0))
      parts.pictures.push_back(picture);
  return parts;
}

}  // namespace

bool has_images(const fs::path& folder) {
  std::error_code error;
  fs::recursive_directory_iterator at(folder, error), end;
  for (; !error && at != end; at.increment(error)) {
    if (hidden(at->path()))
      at.disable_recursion_pending();
    else if (std::error_code ignored; is_image_file(at->path()) && at->is_regular_file(ignored))
      return true;
  }
  return false;
}

DatasetPtr open_folder(const fs::path& folder, Split split, double holdout) {
  const std::string name = formatted("folder:{}@{}", folder.string(), split_name(split));
  const bool own = fs::is_directory(folder / "train") && fs::is_directory(folder / "test");
  Parts parts = own ? own_splits(folder, split) : hashed_splits(folder, split, holdout);
  if (parts.pictures.empty() && split == Split::kTest && has_images(folder))
    throw AbsentPart(
        own ? formatted("[data] {}: no pictures in test/", name)
            : formatted("[data] {}: no pictures are held out (data.holdout is {}, the folder has "
                        "no test/)",
                        name, holdout));
  if (parts.pictures.empty()) fail("[data] {}: no PNG, JPEG or WebP below this folder", name);
  std::vector<FolderDataset::File> files;
  for (const std::string& picture : parts.pictures) {
    const std::string inside = own ? picture.substr(picture.find('/') + 1) : picture;
    const auto found =
        std::lower_bound(parts.classes.begin(), parts.classes.end(), first_level(inside));
    files.push_back({picture, parts.classes.empty() ? -1 : found - parts.classes.begin()});
  }
  return std::make_shared<FolderDataset>(name, folder, std::move(files), std::move(parts.classes),
                                         std::move(parts.skipped));
}

FolderDataset::FolderDataset(std::string name, fs::path root, std::vector<File> files,
                             std::vector<std::string> classes, std::vector<std::string> skipped)
    : name_(std::move(name)),
      root_(std::move(root)),
      classes_(std::move(classes)),
      skipped_(std::move(skipped)) {
  for (File& file : files) {
    const std::optional<PictureShape> shape = probe_picture(root_ / file.path);
    if (!shape) {
      skipped_.push_back(file.path.string() + ": does not begin as PNG, JPEG or WebP do");
      continue;
    }
    if (files_.empty()) common_ = *shape;
    if (shape->height != common_.height || shape->width != common_.width)
      common_.height = common_.width = 0;
    if (shape->channels != common_.channels) common_.channels = 0;
    files_.push_back(std::move(file));
  }
  if (files_.empty())
    fail("[data] {}: none of the {} can be read; {}", name_,
         counted(static_cast<int64_t>(files.size()), "picture", "pictures"), skipped_.back());
  noted_.resize(files_.size());
}

Example FolderDataset::get(int64_t index) const {
  TORCH_CHECK(index >= 0 && index < size(), "example ", index, " of ", size());
  for (int64_t tried = 0; tried < size(); ++tried, index = (index + 1) % size()) {
    if (is_unreadable(index)) continue;
    const File& file = files_[index];
    try {
      ImageNotes notes;
      Example example{read_image(root_ / file.path, &notes), file.label};
      if (!notes.empty()) note(index, notes);
      return example;
    } catch (const Error& error) {
      if (error.kind() != Error::Kind::kUser) throw;
      const std::lock_guard lock(mutex_);
      unreadable_.emplace(index, error.what());
    }
  }
  fail("[data] {}: none of the {} can be read; {}", name_, counted(size(), "picture", "pictures"),
       skipped().back());
}

bool FolderDataset::is_unreadable(int64_t index) const {
  const std::lock_guard lock(mutex_);
  return unreadable_.count(index) > 0;
}

void FolderDataset::note(int64_t index, const ImageNotes& notes) const {
  const std::lock_guard lock(mutex_);
  if (noted_[index]) return;
  noted_[index] = true;
  for (const std::string& line : notes) ++note_counts_[line];
}

std::vector<std::string> FolderDataset::skipped() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines = skipped_;
  for (const auto& [index, reason] : unreadable_) lines.push_back(reason);
  return lines;
}

std::vector<std::string> FolderDataset::notes() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (const auto& [note, count] : note_counts_)
    lines.push_back(formatted("{}: {}", note, counted(count, "file", "files")));
  return lines;
}

std::string FolderDataset::describe() const {
  const auto [height, width] = common_size();
  const int channels = common_channels();
  return formatted("{}: {} {}, {}, {}", name_, counted(size(), "image", "images"),
                   height ? formatted("{}x{}", height, width) : "of various sizes",
                   channels == 1   ? "grey"
                   : channels == 3 ? "colour"
                                   : "grey and colour",
                   classes_.empty()
                       ? "no classes"
                       : counted(static_cast<int64_t>(classes_.size()), "class", "classes"));
}

void FolderDataset::read_all(const ProgressFn& progress, const CancelToken& cancel) const {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < size(); ++i) {
    cancel.check();
    get(i);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (progress)
      progress({.done = i + 1, .total = size(), .unit = "picture", .seconds = seconds.count()});
  }
}

}  // namespace tweedie

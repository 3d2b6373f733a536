// Pictures on disk, read when they are asked for.
#pragma once
#include <filesystem>
#include <map>
#include <mutex>

#include "tweedie/data/dataset.h"
#include "tweedie/io/probe.h"

namespace tweedie {

/// A file that turns out to be unreadable at its first use is noted in skipped(), and the next
/// readable one of the list takes its place: get() stays a function of the index and of what is on
/// disk.
class FolderDataset : public Dataset {
 public:
  struct File {
    std::filesystem::path path;
    int64_t label;
  };
  /// `skipped` are those passed over before. Throws Error (user) if no file begins as a picture
  /// does.
  FolderDataset(std::string name, std::filesystem::path root, std::vector<File> files,
                std::vector<std::string> classes, std::vector<std::string> skipped);
  int64_t size() const override { return static_cast<int64_t>(files_.size()); }
  Example get(int64_t index) const override;
  std::vector<std::string> classes() const override { return classes_; }
  std::pair<int, int> common_size() const override { return {common_.height, common_.width}; }
  int common_channels() const override { return common_.channels; }
  std::string describe() const override;
  std::vector<std::string> skipped() const override;
  std::vector<std::string> notes() const override;
  void read_all(const ProgressFn& progress, const CancelToken& cancel) const override;

 private:
  bool is_unreadable(int64_t index) const;
  void note(int64_t index, const ImageNotes& notes) const;

  std::string name_;
  std::filesystem::path root_;
  std::vector<File> files_;
  std::vector<std::string> classes_, skipped_;
  PictureShape common_;  // 0 where the files differ
  mutable std::mutex mutex_;
  mutable std::map<int64_t, std::string> unreadable_;  // reason by index
  mutable std::vector<bool> noted_;                    // by index
  mutable std::map<std::string, int64_t> note_counts_;
};

}  // namespace tweedie

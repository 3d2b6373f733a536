// Files and folders that are either whole or not there.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tweedie/core/options.h"

namespace tweedie {

/// The whole file; gunzips it if it begins with gzip's magic bytes. Throws Error (user) naming the
/// file.
std::string read_file(const std::filesystem::path& file);
/// Temporary file beside it, fsync, rename. Follows a link; writes a device (/dev/null) directly.
/// On any failure throws Error (system) naming the file and the reason, and leaves neither a
/// temporary file nor a changed target.
void write_file(const std::filesystem::path& file, std::string_view bytes);

/// JSON text, parse errors reported as "FILE:LINE: ...". Duplicate keys are refused.
Json read_json(const std::filesystem::path& file);
/// Indent 2 and a final newline, atomically.
void write_json(const std::filesystem::path& file, const Json& json);

/// Fills a new folder through `fill(temporary)`, then renames it to `folder`, replacing an old one:
/// a reader sees the old or the new one, whole. A failure or a kill leaves the old one untouched.
/// What killed writers of the same folder left behind is swept up. Where the file system cannot
/// exchange two folders in one step, a kill at the wrong instant leaves the old one beside it as
/// ".NAME.*.old".
void write_folder(const std::filesystem::path& folder,
                  const std::function<void(const std::filesystem::path&)>& fill);

/// Throws Error (user) unless files can be created in `folder` (created if absent): asked before
/// long work.
void require_writable(const std::filesystem::path& folder);

}  // namespace tweedie

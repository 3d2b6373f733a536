// gzip, for the files of datasets.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace tweedie {

/// No file is read or unpacked beyond this many bytes.
inline constexpr uint64_t kLargestFile = uint64_t{4} << 30;

/// Whether `bytes` begin with gzip's magic numbers.
bool is_gzip(std::string_view bytes);

/// All members unpacked, their checksums verified. Throws Error (user) naming `source` for anything
/// truncated, corrupt, followed by rubbish, or larger than `limit` when unpacked.
std::string gunzip(std::string_view bytes, const std::string& source,
                   uint64_t limit = kLargestFile);

}  // namespace tweedie

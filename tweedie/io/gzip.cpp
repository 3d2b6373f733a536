#include "tweedie/io/gzip.h"

#include <zlib.h>

#include <algorithm>

#include "tweedie/core/error.h"

namespace tweedie {
namespace {

struct Inflater {
  z_stream stream{};
  Inflater() {
    // 16: a gzip header, no zlib header.
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) fail_system("zlib: cannot start: no memory");
  }
  ~Inflater() { inflateEnd(&stream); }
};

}  // namespace

bool is_gzip(std::string_view bytes) {
  return bytes.size() >= 2 && bytes[0] == '\x1f' && bytes[1] == '\x8b';
}

std::string gunzip(std::string_view bytes, const std::string& source, uint64_t limit) {
  constexpr size_t kPiece = size_t{1} << 20;
  Inflater inflater;
  z_stream& stream = inflater.stream;
  std::string out, unpacked(kPiece, '\0');
  size_t used = 0;  // zlib counts in 32 bits, so the input goes in by pieces too
  while (true) {
    if (stream.avail_in == 0) {
      const size_t piece = std::min(kPiece, bytes.size() - used);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + used));
      stream.avail_in = static_cast<uInt>(piece);
      used += piece;
    }
    stream.next_out = reinterpret_cast<Bytef*>(unpacked.data());
    stream.avail_out = kPiece;
    const int result = inflate(&stream, Z_NO_FLUSH);
    out.append(unpacked, 0, kPiece - stream.avail_out);
    if (out.size() > limit) fail("{}: unpacks to more than {} bytes", source, limit);
    if (result == Z_STREAM_END) {
      const size_t left = stream.avail_in + (bytes.size() - used);
      if (left == 0) return out;
      if (!is_gzip(bytes.substr(bytes.size() - left)))
        fail("{}: {} bytes of rubbish after the gzip data", source, left);
      inflateReset(&stream);
    } else if (result == Z_MEM_ERROR) {
      fail_system("{}: no memory to unpack it", source);
    } else if (result == Z_BUF_ERROR || (result == Z_OK && stream.avail_in == 0 &&
                                         used == bytes.size() && stream.avail_out > 0)) {
      fail("{}: truncated gzip file", source);
    } else if (result != Z_OK) {
      fail("{}: corrupt gzip file{}{}", source, stream.msg ? ": " : "",
           stream.msg ? stream.msg : "");
    }
  }
}

}  // namespace tweedie

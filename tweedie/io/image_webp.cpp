#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <memory>

#include "tweedie/core/error.h"
#include "tweedie/io/image_codecs.h"

namespace tweedie::codec {
namespace {

const uint8_t* data_of(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

const char* reason_of(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "no memory";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "unsupported feature";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "truncated";
    default:
      return "corrupt";
  }
}

// RIFF: the length of all that follows the first eight bytes.
void check_length(std::string_view bytes, const std::string& name) {
  uint64_t length = 8;
  for (size_t i = 0; i < 4; ++i) length += uint64_t{static_cast<uint8_t>(bytes[4 + i])} << 8 * i;
  if (length > bytes.size())
    fail("{}: unreadable WebP: truncated: {} bytes of {}", name, bytes.size(), length);
}

struct Demuxer {
  WebPDemuxer* demuxer;
  Demuxer(std::string_view bytes, const std::string& name) {
    const WebPData data{data_of(bytes), bytes.size()};
    demuxer = WebPDemux(&data);
    if (!demuxer) fail("{}: unreadable WebP: corrupt", name);
  }
  ~Demuxer() { WebPDemuxDelete(demuxer); }
};

int orientation_of(const Demuxer& demuxer) {
  WebPChunkIterator chunk;
  if (!WebPDemuxGetChunk(demuxer.demuxer, "EXIF", 1, &chunk)) return 1;
  std::string_view tiff(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size);
  // Some writers keep JPEG's prefix.
  if (tiff.starts_with(std::string_view("Exif\0\0", 6))) tiff.remove_prefix(6);
  const int orientation = exif_orientation(tiff);
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

void decode_first_frame(std::string_view bytes, const std::string& name, Image& image) {
  const WebPData data{data_of(bytes), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, decltype(&WebPAnimDecoderDelete)> decoder(
      WebPAnimDecoderNew(&data, nullptr), WebPAnimDecoderDelete);
  uint8_t* pixels = nullptr;
  int time = 0;
  if (!decoder || !WebPAnimDecoderGetNext(decoder.get(), &pixels, &time))
    fail("{}: unreadable WebP: corrupt animation", name);
  const size_t size = static_cast<size_t>(image.width) * static_cast<size_t>(image.height) * 4;
  image.channels = 4;
  image.pixels.assign(pixels, pixels + size);
}

struct Picture {
  WebPPicture picture;
  WebPMemoryWriter out;
  Picture() {
    WebPMemoryWriterInit(&out);
    if (!WebPPictureInit(&picture)) fail_system("libwebp: another version than the headers'");
    picture.writer = WebPMemoryWrite;
    picture.custom_ptr = &out;
  }
  ~Picture() {
    WebPPictureFree(&picture);
    WebPMemoryWriterClear(&out);
  }
  void import(const Image& image, const std::string& name) {
    picture.use_argb = 1;
    picture.width = image.width;
    picture.height = image.height;
    std::vector<uint8_t> rgb;
    if (image.channels == 1)
      for (const uint8_t value : image.pixels) rgb.insert(rgb.end(), 3, value);
    if (!WebPPictureImportRGB(&picture, rgb.empty() ? image.pixels.data() : rgb.data(),
                              image.width * 3))
      refuse(name);
  }
  [[noreturn]] void refuse(const std::string& name) const {
    fail_system("{}: cannot encode the WebP: error {}", name, static_cast<int>(picture.error_code));
  }
};

WebPConfig lossless() {
  WebPConfig config;
  if (!WebPConfigInit(&config) || !WebPConfigLosslessPreset(&config, 4))
    fail_system("libwebp: another version than the headers'");
  return config;
}

void check_webp_size(const Image& image, const std::string& name) {
  if (image.width > WEBP_MAX_DIMENSION || image.height > WEBP_MAX_DIMENSION)
    fail("{}: {}x{} pixels: WebP has at most {} a side", name, image.width, image.height,
         WEBP_MAX_DIMENSION);
}

}  // namespace

Decoded decode_webp(std::string_view bytes, const std::string& name) {
  check_length(bytes, name);
  WebPBitstreamFeatures features;
  const VP8StatusCode known = WebPGetFeatures(data_of(bytes), bytes.size(), &features);
  if (known != VP8_STATUS_OK) fail("{}: unreadable WebP: {}", name, reason_of(known));
  check_size(static_cast<uint64_t>(features.width), static_cast<uint64_t>(features.height), name);
  const Demuxer demuxer(bytes, name);
  Decoded decoded;
  decoded.orientation = orientation_of(demuxer);
  Image& image = decoded.image;
  image = {features.width, features.height, features.has_alpha ? 4 : 3, {}};
  if (features.has_animation) {
    decode_first_frame(bytes, name, image);
    if (!features.has_alpha) flatten(image);
    decoded.notes.emplace_back("first frame of an animation");
    return decoded;
  }
  const int row_bytes = image.width * image.channels;
  image.pixels.resize(static_cast<size_t>(row_bytes) * static_cast<size_t>(image.height));
  WebPDecoderConfig config;
  WebPInitDecoderConfig(&config);
  config.output.colorspace = features.has_alpha ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {image.pixels.data(), row_bytes, image.pixels.size()};
  const VP8StatusCode status = WebPDecode(data_of(bytes), bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) fail("{}: unreadable WebP: {}", name, reason_of(status));
  return decoded;
}

std::string encode_webp(const Image& image, const std::string& name) {
  check_webp_size(image, name);
  const WebPConfig config = lossless();
  Picture picture;
  picture.import(image, name);
  if (!WebPEncode(&config, &picture.picture)) picture.refuse(name);
  return {reinterpret_cast<const char*>(picture.out.mem), picture.out.size};
}

std::string encode_animated_webp(const std::vector<Image>& frames, int milliseconds,
                                 const std::string& name) {
  check_webp_size(frames.front(), name);
  WebPAnimEncoderOptions options;
  if (!WebPAnimEncoderOptionsInit(&options))
    fail_system("libwebp: another version than the headers'");
  options.anim_params.loop_count = 0;  // for ever
  const std::unique_ptr<WebPAnimEncoder, decltype(&WebPAnimEncoderDelete)> encoder(
      WebPAnimEncoderNew(frames.front().width, frames.front().height, &options),
      WebPAnimEncoderDelete);
  if (!encoder) fail_system("{}: cannot start the WebP: no memory", name);
  const auto check = [&](int done) {
    if (!done)
      fail_system("{}: cannot encode the WebP: {}", name, WebPAnimEncoderGetError(encoder.get()));
  };
  const WebPConfig config = lossless();
  int time = 0;
  for (const Image& frame : frames) {
    Picture picture;
    picture.import(frame, name);
    check(WebPAnimEncoderAdd(encoder.get(), &picture.picture, time, &config));
    time += milliseconds;
  }
  check(WebPAnimEncoderAdd(encoder.get(), nullptr, time, nullptr));
  WebPData data;
  WebPDataInit(&data);
  const int assembled = WebPAnimEncoderAssemble(encoder.get(), &data);
  const std::unique_ptr<WebPData, decltype(&WebPDataClear)> owner(&data, WebPDataClear);
  check(assembled);
  return {reinterpret_cast<const char*>(data.bytes), data.size};
}

}  // namespace tweedie::codec

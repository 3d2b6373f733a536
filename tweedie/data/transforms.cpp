// Antialiased resize: a separable triangle filter whose support grows with the factor of reduction,
// so that every source pixel under the crop counts (PIL's BILINEAR). Rows first: that pass runs
// over contiguous memory.
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tweedie/core/error.h"
#include "tweedie/data/loader.h"
#include "tweedie/data/pixels.h"

namespace tweedie {
namespace {

// Which source pixels make a target pixel: `weights` add up to 1, the first is of source pixel
// `first`.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};

// Taps of the target pixels offset .. offset+count-1 when `from` pixels become `to`.
std::vector<Taps> triangle_taps(int from, int64_t to, int64_t offset, int count) {
  const double scale = static_cast<double>(from) / to, support = std::max(1.0, scale);
  std::vector<Taps> all(count);
  for (int i = 0; i < count; ++i) {
    const double center = (static_cast<double>(offset + i) + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(std::floor(center - support)));
    const int last = std::min(from, static_cast<int>(std::ceil(center + support)));
    std::vector<double> weights;
    double sum = 0;
    for (int j = first; j < last; ++j) {
      weights.push_back(std::max(0.0, 1 - std::abs(j + 0.5 - center) / support));
      sum += weights.back();
    }
    all[i].first = first;
    for (const double w : weights) all[i].weights.push_back(static_cast<float>(w / sum));
  }
  return all;
}

// out[i] += weight * in[i]; blocks of a fixed length let the compiler use vectors.
void add_scaled(float* __restrict out, const uint8_t* __restrict in, float weight, int n) {
  constexpr int kBlock = 16;
  int i = 0;
  for (; i + kBlock <= n; i += kBlock)
    for (int k = 0; k < kBlock; ++k) out[i + k] += weight * static_cast<float>(in[i + k]);
  for (; i < n; ++i) out[i] += weight * static_cast<float>(in[i]);
}

uint8_t to_byte(float value) {
  return static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f) + 0.5f);
}

// The window height x width at (top, left) of the image resized to full_height x full_width.
Image resize_window(const Image& image, int64_t full_height, int64_t full_width, int64_t top,
                    int64_t left, int height, int width) {
  const int channels = image.channels;
  const std::vector<Taps> rows = triangle_taps(image.height, full_height, top, height);
  const std::vector<Taps> columns = triangle_taps(image.width, full_width, left, width);
  const int begin = columns.front().first * channels;
  const int end =
      (columns.back().first + static_cast<int>(columns.back().weights.size())) * channels;
  const size_t stride = size_t{1} * image.width * channels;
  std::vector<float> line(stride);
  Image out{width, height, channels, std::vector<uint8_t>(size_t{1} * width * height * channels)};
  uint8_t* to = out.pixels.data();
  for (const Taps& row : rows) {
    std::fill(line.begin() + begin, line.begin() + end, 0.0f);
    for (size_t j = 0; j < row.weights.size(); ++j)
      add_scaled(line.data() + begin, image.pixels.data() + (row.first + j) * stride + begin,
                 row.weights[j], end - begin);
    for (const Taps& column : columns) {
      const float* from = line.data() + size_t{1} * column.first * channels;
      for (int c = 0; c < channels; ++c) {
        float sum = 0;
        for (size_t j = 0; j < column.weights.size(); ++j)
          sum += column.weights[j] * from[j * channels + c];
        *to++ = to_byte(sum);
      }
    }
  }
  return out;
}

Image to_channels(const Image& image, int channels) {
  if (image.channels == channels) return image;
  Image out{image.width, image.height, channels, {}};
  const size_t pixels = size_t{1} * image.width * image.height;
  out.pixels.resize(pixels * channels);
  const uint8_t* in = image.pixels.data();
  for (size_t i = 0; i < pixels; ++i) {
    if (channels == 3)
      std::fill_n(&out.pixels[3 * i], 3, in[i]);
    else  // luma of BT.601
      out.pixels[i] = static_cast<uint8_t>(
          (299 * in[3 * i] + 587 * in[3 * i + 1] + 114 * in[3 * i + 2] + 500) / 1000);
  }
  return out;
}

// `at` in [0,1] picks one of the room+1 offsets, each for an equal share.
int64_t crop_offset(int64_t room, double at) {
  return std::clamp<int64_t>(static_cast<int64_t>(at * static_cast<double>(room + 1)), 0, room);
}

const std::array<float, 256>& levels() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> values;
    for (int p = 0; p < 256; ++p) values[p] = static_cast<float>(p / 127.5 - 1);
    return values;
  }();
  return table;
}

}  // namespace

Image fit_image(const Image& image, int height, int width, int channels, double crop_x,
                double crop_y) {
  TORCH_CHECK(height >= 1 && width >= 1 && (channels == 1 || channels == 3), "an image of ", height,
              " x ", width, " x ", channels);
  TORCH_CHECK(image.width >= 1 && image.height >= 1, "an empty image");
  if (image.height == height && image.width == width) return to_channels(image, channels);
  // The side that limits fits exactly, the other covers.
  const double scale = std::max(static_cast<double>(height) / image.height,
                                static_cast<double>(width) / image.width);
  const int64_t full_height = std::max<int64_t>(height, std::llround(image.height * scale));
  const int64_t full_width = std::max<int64_t>(width, std::llround(image.width * scale));
  const int64_t top = crop_offset(full_height - height, crop_y);
  const int64_t left = crop_offset(full_width - width, crop_x);
  return to_channels(resize_window(image, full_height, full_width, top, left, height, width),
                     channels);
}

void write_pixels(const Image& image, bool flip, float* chw) {
  const std::array<float, 256>& level = levels();
  const int w = image.width, channels = image.channels;
  const uint8_t* row = image.pixels.data();
  const size_t plane = size_t{1} * w * image.height;
  for (int y = 0; y < image.height; ++y, row += size_t{1} * w * channels)
    for (int c = 0; c < channels; ++c) {
      float* out = chw + c * plane + size_t{1} * y * w;
      if (flip)
        for (int x = 0; x < w; ++x) out[x] = level[row[(w - 1 - x) * channels + c]];
      else
        for (int x = 0; x < w; ++x) out[x] = level[row[x * channels + c]];
    }
}

Tensor to_tensor(const Image& image) {
  Tensor chw = at::empty({image.channels, image.height, image.width}, at::kFloat);
  write_pixels(image, false, chw.data_ptr<float>());
  return chw;
}

Image to_image(const Tensor& chw) {
  if (chw.dim() != 3 || (chw.size(0) != 1 && chw.size(0) != 3))
    fail("[image] [{}] is no picture: expected [1,H,W] or [3,H,W]", fmt::join(chw.sizes(), ","));
  const Tensor hwc = chw.detach().to(at::kCPU, at::kFloat).permute({1, 2, 0}).contiguous();
  Image image{static_cast<int>(chw.size(2)), static_cast<int>(chw.size(1)),
              static_cast<int>(chw.size(0)), std::vector<uint8_t>(chw.numel())};
  const float* x = hwc.data_ptr<float>();
  for (uint8_t& p : image.pixels) {
    const float clamped = std::min(1.0f, std::max(-1.0f, *x++));  // NaN becomes -1: black
    p = static_cast<uint8_t>(std::lround(clamped * 127.5f + 127.5f));
  }
  return image;
}

}  // namespace tweedie

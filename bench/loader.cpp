// Images a second that the loader alone delivers: 28x28 from memory, and JPEG files of 512 px
// resized to 64 px.
//   bench_loader [--json] [--seconds S] [--workers N]
#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>

#include "tweedie/core/rng.h"
#include "tweedie/data/loader.h"
#include "tweedie/io/files.h"

namespace {

using namespace tweedie;
using Clock = std::chrono::steady_clock;

constexpr int kJpegs = 64;

// Deletes itself.
struct TempFolder {
  std::filesystem::path path;
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tweedie_bench_XXXXXX").string();
    if (!mkdtemp(name.data())) fail_system("[bench] cannot create {}", name);
    path = name;
  }
  ~TempFolder() { std::filesystem::remove_all(path); }
};

// A picture with the detail of a photograph: waves of all lengths, weaker as they get shorter, and
// noise.
Image photograph(uint64_t seed) {
  const int side = 512;
  Rng rng(seed);
  std::vector<double> values(size_t{3} * side * side, 128);
  for (double length = 400; length > 3; length /= 1.7) {
    const double angle = 6.28 * rng.uniform(), fx = std::cos(angle) * 6.28 / length;
    const double fy = std::sin(angle) * 6.28 / length,
                 strength = 4 * std::sqrt(length) * rng.uniform();
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x)
        for (int c = 0; c < 3; ++c)
          values[3 * (size_t{1} * y * side + x) + c] += strength * std::sin(fx * x + fy * y + c);
  }
  Image image{side, side, 3, {}};
  for (const double v : values)
    image.pixels.push_back(static_cast<uint8_t>(std::clamp(v + 6 * rng.normal(), 0.0, 255.0)));
  return image;
}

struct Rate {
  double images_per_second;
  int64_t images;
};

Rate measure(const DatasetPtr& data, const LoaderOptions& options, double seconds) {
  Loader loader(data, options);
  loader.next();  // threads and pages are there
  const int64_t before = loader.position();
  const Clock::time_point start = Clock::now();
  std::chrono::duration<double> passed{};
  do {
    loader.next();
    passed = Clock::now() - start;
  } while (passed.count() < seconds);
  const int64_t images = loader.position() - before;
  return {static_cast<double>(images) / passed.count(), images};
}

// As many grey images as Fashion-MNIST has, in the same format.
std::filesystem::path write_idx(const std::filesystem::path& folder) {
  const auto header = [](std::initializer_list<uint32_t> sizes) {
    std::string bytes{0, 0, 8, static_cast<char>(sizes.size())};
    for (const uint32_t size : sizes)
      for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(size >> shift);
    return bytes;
  };
  const uint32_t count = 60000;
  std::string pixels(size_t{count} * 28 * 28, 0), labels(count, 0);
  Rng rng(0);
  for (char& p : pixels) p = static_cast<char>(rng.bits());
  for (char& label : labels) label = static_cast<char>(rng.below(10));
  write_file(folder / "train-images-idx3-ubyte", header({count, 28, 28}) + pixels);
  write_file(folder / "train-labels-idx1-ubyte", header({count}) + labels);
  return folder;
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"What the data loader alone delivers"};
  bool json = false;
  double seconds = 3;
  int workers = 2;
  app.add_flag("--json", json, "one JSON object on standard output");
  app.add_option("--seconds", seconds, "measured time of each case");
  app.add_option("--workers", workers, "loader threads");
  CLI11_PARSE(app, argc, argv);

  const TempFolder folder;
  LoaderOptions options;
  options.workers = workers;
  options.flip = true;
  const DatasetPtr idx = open_dataset({.spec = "idx:" + write_idx(folder.path).string()});
  const Rate grey = measure(idx, options, seconds);

  std::filesystem::create_directory(folder.path / "jpeg");
  for (int i = 0; i < kJpegs; ++i)
    write_image(folder.path / "jpeg" / formatted("{:03}.jpg", i), photograph(i));
  options.height = options.width = 64;
  options.channels = 3;
  options.batch_size = 32;
  const DatasetPtr jpeg =
      open_dataset({.spec = "folder:" + (folder.path / "jpeg").string() + "@all"});
  const Rate photo = measure(jpeg, options, seconds);

  if (json) {
    std::cout << Json{{"workers", workers},
                      {"idx_28x28_images_per_second", std::lround(grey.images_per_second)},
                      {"jpeg_512_to_64_images_per_second", std::lround(photo.images_per_second)}}
              << "\n";
  } else {
    fmt::print("28x28 grey from memory      {:8.0f} images/s  ({} images, {} workers)\n",
               grey.images_per_second, grey.images, workers);
    fmt::print("JPEG 512 px resized to 64   {:8.0f} images/s  ({} images, {} workers)\n",
               photo.images_per_second, photo.images, workers);
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}

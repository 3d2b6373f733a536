// tweedie inside another program: two models in two threads, each drawing into an RGB8 buffer, with
// progress as a callback and a token that stops the work from outside.
#include <atomic>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

#include "tweedie/tweedie.h"

using namespace tweedie;

// What the host program owns: pixels for its window, 3 bytes each.
struct Buffer {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

Buffer draw(const char* folder, uint64_t seed, const ProgressFn& progress,
            const CancelToken& cancel) {
  Model model = load_model(folder);
  const std::vector<Image> images =
      generate(model, {.n = 1, .seed = seed, .sampler = "ddim", .steps = 10}, progress, cancel);
  const Image image = fit_image(images.front(), images.front().height, images.front().width, 3);
  return {image.width, image.height, image.pixels};
}

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: embed MODEL_FOLDER\n"), 2;
  CancelToken cancel;
  std::atomic<int> steps{0};
  Buffer buffers[2];
  std::exception_ptr errors[2];
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&, i] {
      try {
        buffers[i] = draw(
            argv[1], /*seed=*/i, [&](const Progress&) { ++steps; }, cancel);
      } catch (...) {
        errors[i] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const Error& e) {
      return std::fprintf(stderr, "%s\n", e.what()), 1;
    }
  }
  for (const Buffer& buffer : buffers)
    std::printf("%dx%d, %zu bytes of RGB\n", buffer.width, buffer.height, buffer.rgb.size());
  std::printf("%d steps reported\n", steps.load());

  // Cancelled work ends with an Error of its own kind, between two steps.
  cancel.cancel();
  try {
    draw(argv[1], 0, {}, cancel);
  } catch (const Error& e) {
    std::printf("stopped: %s\n", e.what());
    return e.kind() == Error::Kind::kInterrupted ? 0 : 1;
  }
  return 1;
}

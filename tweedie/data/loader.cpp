// Workers take short runs of the image stream in order and write them into the batches under way;
// next() hands the batches out in order. Which image, crop and flip position p gets depends on
// (seed, p) alone.
#include "tweedie/data/loader.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "tweedie/core/error.h"
#include "tweedie/core/rng.h"
#include "tweedie/data/pixels.h"

namespace tweedie {
namespace {

constexpr int64_t kRun = 8;          // images a worker takes at a time
constexpr size_t kBatchesAhead = 3;  // under way or finished, beside the one handed out

// The dataset index at each position of the stream, asked for in order.
class Order {
 public:
  Order(int64_t size, uint64_t seed, bool shuffle) : size_(size), seed_(seed), shuffle_(shuffle) {}
  int64_t at(int64_t position) {
    if (!shuffle_) return position;
    if (const int64_t epoch = position / size_; epoch != epoch_) {
      order_ = Rng(seed_, stream_of("epoch", epoch)).permutation(size_);
      epoch_ = epoch;
    }
    return order_[position % size_];
  }

 private:
  int64_t size_;
  uint64_t seed_;
  bool shuffle_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

// A batch being filled.
struct Slot {
  Batch batch;
  int64_t first;       // position of its first image
  int64_t unfinished;  // images
  std::exception_ptr error;
};

// Images first .. first+indices.size()-1 of the stream, for one slot.
struct Run {
  Slot* slot = nullptr;
  int64_t first = 0;
  std::vector<int64_t> indices;
};

void validate(const LoaderOptions& o) {
  if (o.batch_size < 1) fail("[data] batch_size {}: at least 1", o.batch_size);
  if (o.height < 1 || o.width < 1) fail("[data] image size {}x{}: at least 1x1", o.height, o.width);
  if (!o.points && o.channels != 1 && o.channels != 3)
    fail("[data] channels {}: known: 1, 3", o.channels);
  if (o.workers < 1) fail("[data] workers {}: at least 1", o.workers);
}

void write_point(const std::vector<double>& point, const LoaderOptions& o, float* out) {
  const size_t D = point.size();
  if (D != size_t{1} * o.channels * o.height * o.width || D != o.points->center.size() ||
      D != o.points->scale.size())
    fail("[data] a point of {} numbers where {} belong", D, o.channels);
  for (size_t d = 0; d < D; ++d)
    out[d] = static_cast<float>((point[d] - o.points->center[d]) / o.points->scale[d]);
}

}  // namespace

int64_t Batch::size() const { return images.defined() ? images.size(0) : 0; }

struct Loader::State {
  State(DatasetPtr data, LoaderOptions o, int64_t start)
      : dataset(std::move(data)),
        options(o),
        order(dataset->size(), o.seed, o.shuffle),
        end(o.shuffle ? INT64_MAX : dataset->size()),
        handed_out(start),
        taken(start) {}

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    room.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  const DatasetPtr dataset;
  const LoaderOptions options;

  mutable std::mutex mutex;
  std::condition_variable room, ready;
  Order order;                 // the rest is under the mutex
  const int64_t end;           // of the stream
  int64_t handed_out, taken;   // positions: of next(), of the workers
  std::deque<Slot> slots;      // front: the batch that next() returns; deque keeps addresses
  std::exception_ptr failure;  // of a worker outside any image: no memory
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;

  bool slot_open() const {
    return !slots.empty() && taken < slots.back().first + slots.back().batch.size();
  }

  // The next run of the stream; waits for room. An empty run means that the worker is done.
  Run take() {
    std::unique_lock lock(mutex);
    room.wait(lock,
              [&] { return stop || slot_open() || taken >= end || slots.size() < kBatchesAhead; });
    if (stop || (!slot_open() && taken >= end)) return {};
    if (!slot_open()) {
      const int64_t n = std::min(options.batch_size, end - taken);
      slots.push_back({{at::empty({n, options.channels, options.height, options.width}, at::kFloat),
                        at::empty({n}, at::kLong)},
                       taken,
                       n,
                       nullptr});
    }
    Run run{&slots.back(), taken, {}};
    const int64_t stop_at = std::min(taken + kRun, run.slot->first + run.slot->batch.size());
    while (taken < stop_at) run.indices.push_back(order.at(taken++));
    return run;
  }

  void finish(const Run& run, std::exception_ptr error) {
    const std::lock_guard lock(mutex);
    if (error && !run.slot->error) run.slot->error = error;
    run.slot->unfinished -= static_cast<int64_t>(run.indices.size());
    if (run.slot->unfinished == 0) ready.notify_all();
  }

  void load(int64_t position, int64_t index, float* pixels, int64_t* label) const {
    Example example = dataset->get(index);
    *label = example.label;
    if (options.points) return write_point(example.point, options, pixels);
    if (!example.point.empty()) fail("[data] {}: points, no images", dataset->describe());
    Rng rng(options.seed, stream_of("augment", position));
    const bool flip = rng.uniform() < 0.5 && options.flip;
    const bool random = options.crop == Crop::kRandom;
    const double x = rng.uniform(), y = rng.uniform();
    Image image = std::move(example.image);
    if (image.height != options.height || image.width != options.width ||
        image.channels != options.channels)
      image = fit_image(image, options.height, options.width, options.channels, random ? x : 0.5,
                        random ? y : 0.5);
    write_pixels(image, flip, pixels);
  }

  void fill(const Run& run) const {
    const int64_t each = int64_t{1} * options.channels * options.height * options.width;
    const int64_t place = run.first - run.slot->first;
    float* pixels = run.slot->batch.images.data_ptr<float>() + place * each;
    int64_t* label = run.slot->batch.labels.data_ptr<int64_t>() + place;
    int64_t position = run.first;
    for (const int64_t index : run.indices) {
      if (stop) return;
      load(position++, index, pixels, label++);
      pixels += each;
    }
  }

  void work() try {
    for (Run run = take(); run.slot; run = take()) {
      std::exception_ptr error;
      try {
        fill(run);
      } catch (...) {
        error = std::current_exception();
      }
      finish(run, error);
    }
  } catch (...) {
    const std::lock_guard lock(mutex);
    failure = std::current_exception();
    ready.notify_all();
  }
};

Loader::Loader(DatasetPtr dataset, LoaderOptions options, int64_t start) {
  validate(options);
  if (dataset->size() < 1) fail("[data] {}: no images", dataset->describe());
  if (start < 0) fail("[data] start {}: at least 0", start);
  state_ = std::make_unique<State>(std::move(dataset), options, start);
  for (int i = 0; i < options.workers; ++i)
    state_->threads.emplace_back([state = state_.get()] { state->work(); });
}

Loader::~Loader() = default;

Batch Loader::next() {
  RECORD_USER_SCOPE("tweedie::data");
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.handed_out >= s.end) return {};
  s.ready.wait(lock,
               [&] { return s.failure || (!s.slots.empty() && s.slots.front().unfinished == 0); });
  if (s.failure) std::rethrow_exception(s.failure);
  if (s.slots.front().error) std::rethrow_exception(s.slots.front().error);
  Batch batch = std::move(s.slots.front().batch);
  s.slots.pop_front();
  s.handed_out += batch.size();
  lock.unlock();
  s.room.notify_all();
  return batch;
}

int64_t Loader::position() const {
  const std::lock_guard lock(state_->mutex);
  return state_->handed_out;
}

}  // namespace tweedie

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "tests/kernels/support.h"
#include "tweedie/kernels/parallel.h"

namespace tweedie::kernels {

using testing::Threads;

TEST(TorchThreads, WorkAtTheSameTime) {
  const Threads guard(2);
  std::mutex mutex;
  std::condition_variable met;
  std::set<std::thread::id> threads;
  on_torch_threads(2, [&](int64_t, int64_t) {  // each waits for another
    std::unique_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
    met.notify_all();
    met.wait_for(lock, std::chrono::seconds(10), [&] { return threads.size() == 2; });
  });
  EXPECT_EQ(threads.size(), 2u);
}

TEST(TorchThreads, EveryIndexIsWorkedOnOnce) {
  for (const int threads : {1, 2, 3})
    for (const int64_t count : {0, 1, 2, 3, 7, 16, 1001}) {
      const Threads guard(threads);
      std::vector<std::atomic<int>> seen(count);
      on_torch_threads(count, [&](int64_t begin, int64_t end) {
        EXPECT_LE(begin, end);
        for (int64_t i = begin; i < end; ++i) ++seen[i];
      });
      for (const auto& times : seen) EXPECT_EQ(times, 1) << count << " on " << threads;
    }
}

TEST(TorchThreads, MayBeAskedForMoreByTheirOwnWork) {
  const Threads guard(2);
  std::atomic<int64_t> sum = 0;
  on_torch_threads(10, [&](int64_t begin, int64_t end) {
    on_torch_threads(end - begin, [&](int64_t from, int64_t to) { sum += to - from; });
  });
  EXPECT_EQ(sum, 10);
}

TEST(TorchThreads, AnExceptionReachesTheCaller) {
  const Threads guard(2);
  EXPECT_THROW(on_torch_threads(100,
                                [](int64_t begin, int64_t) {
                                  if (begin == 0) throw std::bad_alloc();
                                }),
               std::bad_alloc);
}

}  // namespace tweedie::kernels

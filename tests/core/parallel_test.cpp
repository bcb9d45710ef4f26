#include <minidl/core/error.h>
#include <minidl/core/parallel.h>
#include <support/threads.h>

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

namespace minidl {
namespace {

using test::throws_error;
using test::WithThreads;
using Chunk = std::pair<int64_t, int64_t>;

std::set<Chunk> chunks_of(int64_t begin, int64_t end, int64_t grain) {
  std::set<Chunk> chunks;
  std::mutex mutex;
  parallel_for(begin, end, grain, [&](int64_t from, int64_t to) {
    const std::scoped_lock lock(mutex);
    EXPECT_TRUE(chunks.emplace(from, to).second) << "twice: " << from;
  });
  return chunks;
}

TEST(ParallelFor, CoversTheRangeOnceInChunksThatThreadsDoNotChange) {
  for (const int threads : {1, 2, 5}) {
    const WithThreads with(threads);
    for (const Chunk& range : {Chunk{0, 1}, Chunk{0, 1000}, Chunk{-37, 64}, Chunk{5, 6}}) {
      for (const int64_t grain : {1, 3, 64, 5000}) {
        std::set<Chunk> expected;
        for (int64_t from = range.first; from < range.second; from += grain) {
          expected.emplace(from, std::min(range.second, from + grain));
        }
        EXPECT_EQ(chunks_of(range.first, range.second, grain), expected) << threads << " " << grain;
      }
    }
  }
}

TEST(ParallelFor, AnEmptyRangeCallsNothing) {
  const auto never = [](int64_t, int64_t) { FAIL(); };
  parallel_for(0, 0, 1, never);
  parallel_for(5, 3, 1, never);
}

TEST(ParallelFor, TakesAnyGrain) {
  const int64_t largest = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(chunks_of(2, 9, largest), (std::set<Chunk>{{2, 9}}));
  EXPECT_EQ(chunks_of(0, 3, 0), (std::set<Chunk>{{0, 1}, {1, 2}, {2, 3}}));
  EXPECT_EQ(chunks_of(0, 2, -7), (std::set<Chunk>{{0, 1}, {1, 2}}));
  EXPECT_EQ(chunks_of(largest - 5, largest, 3), (std::set<Chunk>{{largest - 5, largest - 2}, {largest - 2, largest}}));
}

TEST(ParallelFor, UsesThreadsWithTheirOwnIndex) {
  const WithThreads with(3);
  EXPECT_EQ(thread_index(), 0);
  std::mutex mutex;
  std::set<std::pair<std::thread::id, int>> seen;
  std::atomic<int> arrived = 0;
  parallel_for(0, 3, 1, [&](int64_t, int64_t) {
    ++arrived;
    while (arrived < 3) std::this_thread::yield();  // all three threads are here at once
    const std::scoped_lock lock(mutex);
    seen.emplace(std::this_thread::get_id(), thread_index());
  });
  ASSERT_EQ(seen.size(), 3u);
  std::set<int> indices;
  for (const auto& [id, index] : seen) indices.insert(index);
  EXPECT_EQ(indices, (std::set<int>{0, 1, 2}));
  EXPECT_EQ(thread_index(), 0);
}

TEST(ParallelFor, ANestedCallRunsOnItsThread) {
  const WithThreads with(4);
  std::atomic<int64_t> total = 0;
  parallel_for(0, 16, 1, [&](int64_t outer, int64_t) {
    const auto caller = std::this_thread::get_id();
    parallel_for(0, 10, 2, [&](int64_t from, int64_t to) {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      total += (to - from) * outer;
    });
  });
  EXPECT_EQ(total, 10 * 120);
}

TEST(ParallelFor, RethrowsAnExceptionAndGoesOnWorking) {
  for (const int threads : {1, 4}) {
    const WithThreads with(threads);
    for (int repeat = 0; repeat < 5; ++repeat) {
      std::atomic<int> calls = 0;
      const auto body = [&](int64_t from, int64_t) {
        ++calls;
        if (from == 3) throw std::runtime_error("chunk 3");
        if (from > 3) std::this_thread::sleep_for(std::chrono::microseconds(50));  // chunk 3 may have to wait for a core
      };
      EXPECT_THROW(parallel_for(0, 100000, 1, body), std::runtime_error);
      EXPECT_LT(calls, 100000);  // the rest was not begun
    }
    EXPECT_EQ(chunks_of(0, 10, 5).size(), 2u);
  }
}

TEST(ParallelFor, AnExceptionLeavesANestedCall) {
  const WithThreads with(2);
  const auto inner = [](int64_t, int64_t) { fail("[inner] broke"); };
  EXPECT_TRUE(throws_error([&] { parallel_for(0, 8, 1, [&](int64_t, int64_t) { parallel_for(0, 4, 1, inner); }); },
                           "[inner] broke"));
  EXPECT_EQ(chunks_of(0, 10, 1).size(), 10u);
}

TEST(ParallelFor, CallersOnSeveralThreadsTakeTurns) {
  const WithThreads with(3);
  std::atomic<int64_t> total = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 50; ++repeat)
        parallel_for(0, 40, 3, [&](int64_t from, int64_t to) { total += to - from; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 50 * 40);
}

TEST(SerialScope, KeepsItsThreadOffThePool) {
  const WithThreads with(3);
  std::atomic<int> started = 0;
  parallel_for(0, 3, 1, [&](int64_t, int64_t) {  // holds all threads of the pool until the other thread is through
    if (++started < 3) {
      while (started < 4) std::this_thread::yield();
      return;
    }
    std::thread([&] {
      const SerialScope serial;
      { const SerialScope inner; }
      parallel_for(0, 100, 1, [me = std::this_thread::get_id()](int64_t from, int64_t to) {
        EXPECT_EQ(to, from + 1);
        EXPECT_EQ(std::this_thread::get_id(), me);
      });
    }).join();
    ++started;
  });
  std::set<std::thread::id> seen;
  {
    const SerialScope serial;
    parallel_for(0, 10, 1, [&](int64_t, int64_t) { seen.insert(std::this_thread::get_id()); });
  }
  EXPECT_EQ(seen.size(), 1u);
  started = 0;
  parallel_for(0, 2, 1, [&](int64_t, int64_t) {  // after the scope this thread has the pool again
    ++started;
    while (started < 2) std::this_thread::yield();
  });
}

TEST(NumThreads, ChangesBetweenCalls) {
  const int before = num_threads();
  EXPECT_GE(before, 1);
  for (const int threads : {1, 7, 2, 7, 3}) {
    const WithThreads with(threads);
    EXPECT_EQ(num_threads(), threads);
    std::set<int> indices;
    std::mutex mutex;
    parallel_for(0, 50, 1, [&](int64_t, int64_t) {
      const std::scoped_lock lock(mutex);
      indices.insert(thread_index());
    });
    EXPECT_LT(*indices.rbegin(), threads);
  }
  EXPECT_EQ(num_threads(), before);
}

TEST(NumThreads, RefusesNumbersOutsideItsRange) {
  for (const int threads : {0, -1, 1025}) {
    EXPECT_TRUE(throws_error([&] { set_num_threads(threads); }, std::to_string(threads) + " threads")) << threads;
  }
}

TEST(NumThreads, AThreadThatTheSystemRefusesIsAnError) {
  pthread_attr_t usual, huge;
  ASSERT_EQ(pthread_getattr_default_np(&usual), 0);
  ASSERT_EQ(pthread_getattr_default_np(&huge), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 47), 0);  // no address space has room for this stack
  ASSERT_EQ(pthread_setattr_default_np(&huge), 0);
  {
    const WithThreads with(6);
    EXPECT_TRUE(throws_error([] { parallel_for(0, 10, 1, [](int64_t, int64_t) {}); }, "ask for fewer"));
  }
  ASSERT_EQ(pthread_setattr_default_np(&usual), 0);
  EXPECT_EQ(chunks_of(0, 10, 1).size(), 10u);
}

}  // namespace
}  // namespace minidl

#include <minidl/core/error.h>
#include <minidl/core/parallel.h>

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace minidl {
namespace {

constexpr int kMaxThreads = 1024;
thread_local bool inside_body = false;  // of a parallel_for, or of a SerialScope: calls run on this thread
thread_local int index_of_thread = 0;

int default_threads() {
  if (const char* text = std::getenv("MINIDL_THREADS")) {
    const int wanted = std::atoi(text);
    if (wanted >= 1 && wanted <= kMaxThreads) return wanted;
  }
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// One parallel_for in flight. Workers take the next chunk until none is left.
struct Job {
  Job(int64_t first, int64_t last, int64_t chunk, const std::function<void(int64_t, int64_t)>& function)
      : begin(first), end(last), grain(chunk), chunks((last - first - 1) / chunk + 1), body(function) {}

  const int64_t begin, end, grain, chunks;
  const std::function<void(int64_t, int64_t)>& body;
  std::atomic<int64_t> next{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void run_chunk(int64_t chunk) {
    const int64_t from = begin + chunk * grain;
    body(from, chunk + 1 == chunks ? end : from + grain);
  }

  void work() {
    inside_body = true;
    for (int64_t chunk = next++; chunk < chunks; chunk = next++) {
      try {
        run_chunk(chunk);
      } catch (...) {
        const std::scoped_lock lock(error_mutex);
        if (!error) error = std::current_exception();
        next = chunks;
      }
    }
    inside_body = false;
  }
};

/// Threads that sleep between jobs. One job at a time: concurrent callers wait for each other.
class Pool {
 public:
  explicit Pool(int threads) {
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { loop(i); });
    } catch (const std::exception& error) {
      stop();
      fail("[threads] the system gave only {} of {} threads ({}); ask for fewer", workers_.size() + 1, threads,
           error.what());
    }
  }
  ~Pool() { stop(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(Job& job) {
    {
      const std::scoped_lock lock(mutex_);
      job_ = &job;
      ++generation_;
      busy_ = static_cast<int>(workers_.size());
    }
    wake_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return busy_ == 0; });
    job_ = nullptr;
  }

 private:
  void stop() {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  void loop(int index) {
    index_of_thread = index;
    uint64_t seen = 0;
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      Job* job = job_;
      lock.unlock();
      job->work();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  uint64_t generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
};

std::mutex pool_mutex;  // held while a job runs and while the pool is replaced
std::unique_ptr<Pool> pool;
std::atomic<int> thread_count{0};

}  // namespace

int num_threads() {
  if (thread_count == 0) {
    int expected = 0;
    thread_count.compare_exchange_strong(expected, default_threads());
  }
  return thread_count;
}

void set_num_threads(int threads) {
  MINIDL_CHECK(threads >= 1 && threads <= kMaxThreads, "[threads] {} threads asked for; use 1 to {}", threads,
               kMaxThreads);
  thread_count = threads;
}

int thread_index() {
  return index_of_thread;
}

SerialScope::SerialScope() : before_(std::exchange(inside_body, true)) {}

SerialScope::~SerialScope() {
  inside_body = before_;
}

void parallel_for(int64_t begin, int64_t end, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  if (end <= begin) return;
  Job job(begin, end, std::clamp<int64_t>(grain, 1, end - begin), body);
  const int threads = num_threads();
  if (inside_body || threads == 1 || job.chunks == 1) {
    for (int64_t chunk = 0; chunk < job.chunks; ++chunk) job.run_chunk(chunk);
    return;
  }
  {
    const std::scoped_lock lock(pool_mutex);
    if (!pool || pool->threads() != threads) {
      pool.reset();
      pool = std::make_unique<Pool>(threads);
    }
    pool->run(job);
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace minidl

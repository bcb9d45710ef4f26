#include <minidl/core/cuda/backend.h>
#include <minidl/core/cuda/check.h>
#include <minidl/core/cuda/pooled_allocator.h>
#include <minidl/core/cuda/recording.h>
#include <minidl/core/cuda/stream.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

namespace minidl::cuda {
namespace {

constexpr size_t kNumbers = 512;  // of a block of pinned memory

thread_local Recording* current_recording = nullptr;
std::atomic<uint64_t> passes{0};

bool are_switched_off() {
  const char* setting = std::getenv("MINIDL_CUDA_GRAPHS");
  return setting && std::string_view(setting) == "0";
}

PooledAllocator& memory_of(int index) {
  return static_cast<PooledAllocator&>(allocator(index));
}

/// While it lives, memory comes from the pool and numbers are read by the recording.
class WorkScope {
 public:
  WorkScope(Recording& recording, PooledAllocator& memory, PooledAllocator::Pool* pool)
      : memory_(memory), pool_(pool), before_(current_recording) {
    if (pool_) memory_.open(pool_);
    current_recording = &recording;
  }
  ~WorkScope() {
    if (pool_) memory_.open(nullptr);
    current_recording = before_;
  }
  WorkScope(const WorkScope&) = delete;
  WorkScope& operator=(const WorkScope&) = delete;

 private:
  PooledAllocator& memory_;
  PooledAllocator::Pool* pool_;
  Recording* before_;
};

/// While it lives, memory comes from the common store.
class StoreClosed {
 public:
  StoreClosed(PooledAllocator& memory, PooledAllocator::Pool* pool) : memory_(memory), pool_(pool) {
    if (pool_) memory_.open(nullptr);
  }
  ~StoreClosed() {
    if (pool_) memory_.open(pool_);
  }
  StoreClosed(const StoreClosed&) = delete;
  StoreClosed& operator=(const StoreClosed&) = delete;

 private:
  PooledAllocator& memory_;
  PooledAllocator::Pool* pool_;
};

}  // namespace

struct Recording::Impl {
  enum class Stage { first, second, recorded, never };
  struct ReadNumber {
    Tensor scalar;
    double coefficient;
    const double *value, *times;  // in `host`; times may be nullptr
  };
  struct Reliance {
    Tensor source;
    uint64_t version;
    Tensor derived;
  };

  Impl(int device_index, PooledAllocator& device_memory) : index(device_index), memory(device_memory) {}
  ~Impl() { forget(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void forget() {
    graph.reset();
    numbers.clear();
    reliances.clear();
    stage = Stage::first;
    if (pool) memory.retire(std::exchange(pool, nullptr));
  }
  void do_once(Recording& recording, const std::function<void()>& work) {
    numbers.clear();
    reliances.clear();
    brought = 0;
    pass = ++passes;
    const WorkScope scope(recording, memory, pool);
    work();
  }
  void do_first(Recording& recording, const std::function<void()>& work) {
    memory.release_cached();  // the pool may need it
    pool = memory.make_pool();
    do_once(recording, work);
    stage = Stage::second;
  }
  void run(Recording& recording, const std::function<void()>& work);
  bool can_rely() const {
    return std::all_of(reliances.begin(), reliances.end(),
                       [](const Reliance& of) { return of.source.version() == of.version; });
  }
  const double* bring(const Tensor& value);

  int index;
  PooledAllocator& memory;
  PooledAllocator::Pool* pool = nullptr;
  Graph graph;
  uint64_t pass = 0;
  Stage stage = Stage::first;
  bool may_rely = true, relied_in_vain = false;
  std::vector<Reliance> reliances;
  std::vector<PinnedMemory> host;  // the numbers as they come, in blocks, which do not move
  size_t brought = 0;
  std::vector<ReadNumber> numbers;
};

/// Where the value of one f64 of the device will be.
const double* Recording::Impl::bring(const Tensor& value) {
  MINIDL_CHECK(value.dtype() == Dtype::f64 && value.count() == 1, "[cuda] a recording reads one f64, not {} of {}",
               value.shape(), to_string(value.dtype()));
  if (brought == host.size() * kNumbers) host.emplace_back(kNumbers * sizeof(double));
  double* const place = static_cast<double*>(host[brought / kNumbers].get()) + brought % kNumbers;
  ++brought;
  MINIDL_CUDA_CHECK(cudaMemcpyAsync(place, value.raw(), sizeof(double), cudaMemcpyDefault, current_stream()));
  return place;
}

void Recording::Impl::run(Recording& recording, const std::function<void()>& work) {
  const cudaStream_t stream = current_stream();
  if (stage == Stage::recorded && !can_rely()) {
    if (std::exchange(relied_in_vain, true)) may_rely = false;
    forget();
  }
  if (stage == Stage::first && (are_switched_off() || !memory.has_pools())) stage = Stage::never;
  if (stage == Stage::first) {
    do_first(recording, work);
  } else if (stage == Stage::second) {
    const bool done = graph.record(stream, [&] { do_once(recording, work); });
    stage = done ? Stage::recorded : Stage::never;
    if (!done) memory.retire(std::exchange(pool, nullptr));
    if (done && !can_rely()) {
      may_rely = false;
      forget();
      do_first(recording, work);
    }
  }
  if (stage == Stage::recorded) graph.launch(stream);
  if (stage == Stage::never) do_once(recording, work);
  MINIDL_CUDA_CHECK(cudaStreamSynchronize(stream));
  for (ReadNumber& number : numbers) {
    const double value = number.coefficient * *number.value * (number.times ? *number.times : 1.0);
    if (number.scalar.dtype() == Dtype::f64) {
      *number.scalar.data<double>() = value;
    } else {
      *number.scalar.data<float>() = static_cast<float>(value);
    }
  }
}

Recording::Recording(int index) {
  PooledAllocator& memory = memory_of(index);  // refuses a device that there is not
  const DeviceScope scope(index);
  impl_ = std::make_unique<Impl>(index, memory);
}
Recording::~Recording() = default;
Recording::Recording(Recording&&) noexcept = default;

void Recording::run(const std::function<void()>& work) {
  const DeviceScope scope(impl_->index);
  try {
    impl_->run(*this, work);
  } catch (...) {
    impl_->forget();
    throw;
  }
}

void Recording::reset() {
  impl_->forget();
}

bool Recording::is_recorded() const {
  return impl_->stage == Impl::Stage::recorded;
}

bool Recording::is_recording() const {
  return impl_->stage == Impl::Stage::second;
}

Tensor Recording::outside_store(const std::function<Tensor()>& make) {
  const StoreClosed closed(impl_->memory, impl_->pool);
  return make();
}

bool Recording::rely_on(const Tensor& source, const Tensor& derived) {
  if (impl_->may_rely) impl_->reliances.push_back({source, source.version(), derived});
  return impl_->may_rely;
}

uint64_t Recording::current_pass() {
  return current_recording ? current_recording->impl_->pass : 0;
}

Recording* Recording::current() {
  return current_recording;
}

Tensor Recording::read(const Tensor& value, double coefficient, const Tensor& times, Dtype dtype) {
  const double* const place = impl_->bring(value);
  const double* const factor = times ? impl_->bring(times) : nullptr;
  return impl_->numbers.emplace_back(Impl::ReadNumber{Tensor::zeros({}, dtype), coefficient, place, factor}).scalar;
}

}  // namespace minidl::cuda

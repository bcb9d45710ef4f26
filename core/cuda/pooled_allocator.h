#pragma once
#include <minidl/core/caching_allocator.h>

#include <memory>
#include <thread>
#include <vector>

namespace minidl::cuda {

/// The allocator of a device. Blocks come from a common store or, while a pool is open, from that; each goes back to
/// where it came from. A pool is open for the thread that opened it alone, and gives nothing back to the device before
/// it is retired, so that recorded work finds its memory unused by others.
class PooledAllocator final : public Allocator {
 public:
  using Pool = CachingAllocator;

  PooledAllocator(RawSource& source, CachingAllocator::Keeps keeps)
      : source_(source), keeps_(keeps), common_(source, keeps) {}

  void* allocate(size_t bytes) override;
  void deallocate(void* pointer) noexcept override;
  /// Of all stores, gone ones too; the peak is the sum of theirs, an upper bound.
  MemoryStats stats() const override;
  void reset_peak() override;
  /// Those of the common store.
  void release_cached() override { common_.release_cached(); }
  /// Of the common store, and of a pool less what the others use when it is opened.
  void set_limit(int64_t bytes) override;

  /// Whether pools can be used: not when nothing is kept.
  bool has_pools() const { return keeps_ == CachingAllocator::Keeps::segments; }
  Pool* make_pool();
  /// What is free goes back to the device at once, the rest when its tensors go.
  void retire(Pool* pool) noexcept;
  /// For this thread. One at a time; nullptr closes it.
  void open(Pool* pool);

 private:
  struct Owned {
    std::unique_ptr<Pool> pool;
    bool retired = false;
  };
  void give_back_retired() noexcept;

  RawSource& source_;
  const CachingAllocator::Keeps keeps_;
  CachingAllocator common_;
  mutable std::mutex mutex_;
  std::vector<Owned> pools_;
  Pool* open_ = nullptr;
  std::thread::id opened_by_;
  MemoryStats gone_;  // of pools that are no more
  int64_t limit_ = 0;
};

}  // namespace minidl::cuda

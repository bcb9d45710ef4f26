#include <minidl/core/cuda/pooled_allocator.h>
#include <minidl/core/error.h>

#include <algorithm>

namespace minidl::cuda {

void* PooledAllocator::allocate(size_t bytes) {
  const std::scoped_lock lock(mutex_);
  if (!open_ || opened_by_ != std::this_thread::get_id()) return common_.allocate(bytes);
  try {
    return open_->allocate(bytes);
  } catch (const Error&) {  // what the common store does not use may be enough
    common_.release_cached();
    return open_->allocate(bytes);
  }
}

void PooledAllocator::deallocate(void* pointer) noexcept {
  if (!pointer) return;
  const std::scoped_lock lock(mutex_);
  for (const Owned& owned : pools_) {
    if (!owned.pool->owns(pointer)) continue;
    owned.pool->deallocate(pointer);
    if (owned.retired) give_back_retired();
    return;
  }
  common_.deallocate(pointer);
}

MemoryStats PooledAllocator::stats() const {
  const std::scoped_lock lock(mutex_);
  MemoryStats total = common_.stats();
  for (const Owned& owned : pools_) {
    const MemoryStats stats = owned.pool->stats();
    total.in_use += stats.in_use;
    total.held += stats.held;
    total.peak_in_use += stats.peak_in_use;
    total.allocations += stats.allocations;
  }
  total.peak_in_use += gone_.peak_in_use;
  total.allocations += gone_.allocations;
  return total;
}

void PooledAllocator::reset_peak() {
  const std::scoped_lock lock(mutex_);
  common_.reset_peak();
  gone_.peak_in_use = 0;
  for (const Owned& owned : pools_) owned.pool->reset_peak();
}

void PooledAllocator::set_limit(int64_t bytes) {
  const std::scoped_lock lock(mutex_);
  limit_ = bytes;
  common_.set_limit(bytes);
}

PooledAllocator::Pool* PooledAllocator::make_pool() {
  const std::scoped_lock lock(mutex_);
  return pools_.emplace_back(Owned{std::make_unique<Pool>(source_, CachingAllocator::Keeps::everything)}).pool.get();
}

void PooledAllocator::retire(Pool* pool) noexcept {
  const std::scoped_lock lock(mutex_);
  for (Owned& owned : pools_) owned.retired = owned.retired || owned.pool.get() == pool;
  give_back_retired();
}

void PooledAllocator::give_back_retired() noexcept {
  std::erase_if(pools_, [this](const Owned& owned) {
    if (!owned.retired) return false;
    owned.pool->release_cached();
    const MemoryStats stats = owned.pool->stats();
    if (stats.in_use > 0) return false;
    gone_.peak_in_use += stats.peak_in_use;
    gone_.allocations += stats.allocations;
    return true;
  });
}

void PooledAllocator::open(Pool* pool) {
  const std::scoped_lock lock(mutex_);
  MINIDL_CHECK(!pool || !open_, "[cuda] one work is recorded while another is: use one Recording at a time");
  open_ = pool;
  opened_by_ = std::this_thread::get_id();
  if (!pool) return;
  int64_t elsewhere = common_.stats().in_use;
  for (const Owned& owned : pools_) elsewhere += owned.pool.get() == pool ? 0 : owned.pool->stats().in_use;
  pool->set_limit(limit_ == 0 ? 0 : std::max<int64_t>(1, limit_ - elsewhere));
}

}  // namespace minidl::cuda

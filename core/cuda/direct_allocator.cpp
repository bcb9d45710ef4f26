#include <minidl/core/cuda/direct_allocator.h>
#include <minidl/core/error.h>

#include <algorithm>
#include <cstdlib>

namespace minidl::cuda {

void* DirectAllocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::scoped_lock lock(mutex_);
  const auto size = static_cast<int64_t>(bytes);
  MINIDL_CHECK(limit_ == 0 || size <= limit_ - stats_.in_use,
               "[allocator] {} bytes requested, but {} are in use and the limit is {} (peak {}); use a smaller picture "
               "or a larger limit",
               bytes, stats_.in_use, limit_, stats_.peak_in_use);
  void* pointer = source_.allocate(bytes);
  MINIDL_CHECK(pointer, "[allocator] out of memory: {} bytes requested, {} in use (peak {})", bytes, stats_.in_use,
               stats_.peak_in_use);
  blocks_[pointer] = bytes;
  stats_.in_use += size;
  stats_.held = stats_.in_use;
  stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
  ++stats_.allocations;
  return pointer;
}

void DirectAllocator::deallocate(void* pointer) noexcept {
  if (!pointer) return;
  const std::scoped_lock lock(mutex_);
  const auto block = blocks_.find(pointer);
  if (block == blocks_.end()) std::abort();  // a pointer that is not ours, or freed twice: memory is corrupt
  stats_.in_use -= static_cast<int64_t>(block->second);
  stats_.held = stats_.in_use;
  source_.release(pointer, block->second);
  blocks_.erase(block);
}

MemoryStats DirectAllocator::stats() const {
  const std::scoped_lock lock(mutex_);
  return stats_;
}

void DirectAllocator::reset_peak() {
  const std::scoped_lock lock(mutex_);
  stats_.peak_in_use = stats_.in_use;
}

void DirectAllocator::set_limit(int64_t bytes) {
  const std::scoped_lock lock(mutex_);
  limit_ = bytes;
}

}  // namespace minidl::cuda

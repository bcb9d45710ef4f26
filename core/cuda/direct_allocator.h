#pragma once
#include <minidl/core/caching_allocator.h>

#include <map>
#include <mutex>

namespace minidl::cuda {

/// Takes every block from the source and gives it back at once, so that a checker of memory errors sees each one.
class DirectAllocator final : public Allocator {
 public:
  explicit DirectAllocator(RawSource& source) : source_(source) {}

  void* allocate(size_t bytes) override;
  void deallocate(void* pointer) noexcept override;
  MemoryStats stats() const override;
  void reset_peak() override;
  void release_cached() override {}
  void set_limit(int64_t bytes) override;

 private:
  RawSource& source_;
  mutable std::mutex mutex_;
  std::map<void*, size_t> blocks_;
  MemoryStats stats_;
  int64_t limit_ = 0;
};

}  // namespace minidl::cuda

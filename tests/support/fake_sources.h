#pragma once
#include <minidl/core/caching_allocator.h>

#include <cstring>
#include <map>
#include <memory>
#include <utility>

namespace minidl::test {

inline constexpr int64_t kMiB = int64_t{1} << 20;

/// Host memory up to a capacity; knows what is out.
class FakeSource final : public RawSource {
 public:
  explicit FakeSource(int64_t capacity) : capacity_(capacity) {}

  void* allocate(size_t bytes) override {
    ++requests;
    if (static_cast<int64_t>(bytes) > capacity_ - out()) return nullptr;
    auto memory = std::make_unique_for_overwrite<char[]>(bytes + 64);
    char* aligned = memory.get() + (64 - reinterpret_cast<uintptr_t>(memory.get()) % 64);
    segments_[aligned] = {std::move(memory), static_cast<int64_t>(bytes)};
    return aligned;
  }
  void release(void* pointer, size_t bytes) noexcept override {
    const auto segment = segments_.find(static_cast<char*>(pointer));
    if (segment == segments_.end() || segment->second.bytes != static_cast<int64_t>(bytes))
      ++wrong_releases;
    else
      segments_.erase(segment);
  }
  int64_t out() const {
    int64_t total = 0;
    for (const auto& [pointer, segment] : segments_) total += segment.bytes;
    return total;
  }
  size_t segments() const { return segments_.size(); }

  int requests = 0;
  int wrong_releases = 0;

 private:
  struct Segment {
    std::unique_ptr<char[]> memory;
    int64_t bytes;
  };
  int64_t capacity_;
  std::map<char*, Segment> segments_;
};

/// One piece of memory of which segments are cut one after the other; without room there, from elsewhere.
class FakeRange final : public RawSource {
 public:
  explicit FakeRange(int64_t capacity)
      : memory_(std::make_unique_for_overwrite<char[]>(static_cast<size_t>(capacity) + 64)),
        begin_(memory_.get() + (64 - reinterpret_cast<uintptr_t>(memory_.get()) % 64)),
        end_(begin_),
        last_(begin_ + capacity) {}

  void* allocate(size_t bytes) override {
    if (is_blocked) return elsewhere.allocate(bytes);
    if (static_cast<int64_t>(bytes) > last_ - end_) return nullptr;
    out += static_cast<int64_t>(bytes);
    return std::exchange(end_, end_ + bytes);
  }
  void release(void* pointer, size_t bytes) noexcept override {
    char* first = static_cast<char*>(pointer);
    if (first < begin_ || first >= last_) {
      elsewhere.release(pointer, bytes);
      return;
    }
    out -= static_cast<int64_t>(bytes);
    if (first + bytes == end_) end_ = first;
  }
  bool extends() const override { return true; }

  int64_t out = 0;
  bool is_blocked = false;
  FakeSource elsewhere{64 * kMiB};

 private:
  std::unique_ptr<char[]> memory_;
  char *begin_, *end_, *last_;
};

}  // namespace minidl::test

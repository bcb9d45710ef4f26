#pragma once
#include <minidl/core/allocator.h>

#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

namespace minidl {

/// Where a caching allocator takes its memory from. `allocate` returns nullptr when there is none.
class RawSource {
 public:
  virtual ~RawSource() = default;
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* pointer, size_t bytes) noexcept = 0;
  /// Whether what is allocated lies right after what was allocated last, whenever that is possible, and may be used
  /// together with it.
  virtual bool extends() const { return false; }
  /// Tells a checker of memory errors which bytes may be touched; other sources ignore it.
  virtual void set_usable(void*, size_t, bool) noexcept {}
};

/// Best-fit caching allocator over any raw source. Sizes are rounded to 512 B up to 1 MiB and to 64 KiB above, segments
/// to 2 MiB. Blocks are split and merged inside the segment that they came from. From a source that extends, all
/// segments together are one range that grows at its end, by what is missing, when no free block inside it is large
/// enough: a program whose tensors come and go in all sizes then holds hardly more than it uses. With a second source
/// small blocks have a range of their own, and do not cut large free blocks in two. When the source has no more, every
/// free segment is given back and the request is tried once again before Error is thrown. One that keeps nothing takes
/// every block from the source and gives it back at once, so that a checker of memory errors sees where each one ends;
/// one that keeps everything gives segments back only when it is told to.
class CachingAllocator final : public Allocator {
 public:
  enum class Keeps { segments, nothing, everything };
  explicit CachingAllocator(RawSource& source, Keeps keeps = Keeps::segments) : zones_{Zone(source)}, keeps_(keeps) {}
  /// Requests of at most 3 MiB go to `small_source`; both sources extend.
  CachingAllocator(RawSource& source, RawSource& small_source)
      : zones_{Zone(source), Zone(small_source)}, keeps_(Keeps::segments) {}
  ~CachingAllocator() override;
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  void* allocate(size_t bytes) override;
  void deallocate(void* pointer) noexcept override;
  MemoryStats stats() const override;
  void reset_peak() override;
  void release_cached() override;
  void set_limit(int64_t bytes) override;
  /// Whether `pointer` is a block of this allocator, in use or not.
  bool owns(void* pointer) const;

 private:
  /// Blocks of one source.
  struct Zone {
    explicit Zone(RawSource& of) : source(of) {}
    RawSource& source;
    std::set<std::pair<size_t, char*>> free_list;  // free blocks by (size, address): best fit, lowest address first
    char* end = nullptr;                           // of the segment that was taken last
  };
  struct Block {
    size_t size = 0;
    Zone* zone = nullptr;
    char* segment =
        nullptr;  // first byte of the segment that the block was cut from; of a source that extends: nullptr
    bool free = false;
  };
  struct Segment {
    size_t bytes;
    Zone* zone;
  };

  Zone& zone_for(size_t size);
  /// A block of at least `size` bytes that is not on the list of free blocks; nullptr when memory has run out.
  char* take_block(Zone& zone, size_t size);
  char* take_block_of_range(Zone& zone, size_t size);
  /// The best fit among free blocks of `size` to `largest` bytes, taken off the list; nullptr when there is none. The
  /// block at the end of a range is the last choice.
  char* take_free_block(Zone& zone, size_t size, size_t largest);
  /// The free block at the end of the range, or blocks_.end().
  std::map<char*, Block>::iterator last_free_block(const Zone& zone);
  /// A new segment that is one free block, not on the list; nullptr when the source has no more.
  char* take_segment(Zone& zone, size_t bytes);
  /// Puts a block on the list, together with the free blocks beside it.
  void add_free_block(std::map<char*, Block>::iterator block);
  void release_free_segments();

  std::vector<Zone> zones_;  // one, or that of large and that of small blocks
  const Keeps keeps_;
  mutable std::mutex mutex_;
  std::map<char*, Block> blocks_;      // every block by address: neighbours of a segment are neighbours here
  std::map<char*, Segment> segments_;  // by their first byte
  MemoryStats stats_;
  int64_t limit_ = 0;
};

}  // namespace minidl

#include <minidl/core/caching_allocator.h>
#include <minidl/core/cuda/backend.h>
#include <minidl/core/error.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace minidl {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kSmall = kMiB;  // requests up to this are cut from small segments
constexpr size_t kSmallUnit = 512, kLargeUnit = 64 << 10;
constexpr size_t kSegmentUnit = 2 * kMiB;  // which the system can map as huge pages
/// Larger requests below kShared are cut from segments of kSharedSegment: rounded to whole segments of their own, a
/// history of pictures would waste half of them.
constexpr size_t kShared = 4 * kMiB, kSharedSegment = 16 * kMiB;
constexpr size_t kSmallZone = 3 * kMiB;       // largest request of the zone of small blocks
constexpr size_t kRoom = size_t{64} << 30;    // addresses for one range to grow into
constexpr size_t kLargest = size_t{1} << 40;  // a larger request is a mistake, which the system might even grant

constexpr size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

/// Straight from the system, in multiples of 2 MiB aligned to 2 MiB: huge pages spare a kernel most of its address
/// lookups, and what is released does not stay with a heap.
class HostSource final : public RawSource {
 public:
  /// Each has addresses of its own to grow into; `index` counts them.
  explicit HostSource(size_t index) : depth_((index + 1) * kRoom) {}

  void* allocate(size_t bytes) override {
    char* first = map(end_, bytes);
    if (first && first != end_) {  // the first one, or something else is there
      munmap(first, bytes);
      first = map_aligned(bytes);
    }
    if (!first) return nullptr;
#if defined(MADV_HUGEPAGE)
    madvise(first, bytes, MADV_HUGEPAGE);  // without it everything works, slower
#endif
    end_ = first + bytes;
    return first;
  }
  void release(void* pointer, size_t bytes) noexcept override {
    munmap(pointer, bytes);
    if (static_cast<char*>(pointer) + bytes == end_) end_ = static_cast<char*>(pointer);
  }
  bool extends() const override { return true; }
#if defined(__SANITIZE_ADDRESS__)
  void set_usable(void* pointer, size_t bytes, bool usable) noexcept override {
    usable ? ASAN_UNPOISON_MEMORY_REGION(pointer, bytes) : ASAN_POISON_MEMORY_REGION(pointer, bytes);
  }
#endif

 private:
  /// At `where` if the system can; nullptr when there is no memory.
  static char* map(char* where, size_t bytes) {
    void* mapped = mmap(where, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
  }
  /// Where there is room above. The system puts mappings one below the other: what follows one of ours is taken, what
  /// lies far below all of them is not.
  char* map_aligned(size_t bytes) const {
    char* above = map(nullptr, bytes + kSegmentUnit);
    if (!above) return nullptr;
    munmap(above, bytes + kSegmentUnit);
    const uintptr_t highest = reinterpret_cast<uintptr_t>(above);
    const uintptr_t below = highest > 2 * depth_ ? (highest - depth_) / kSegmentUnit * kSegmentUnit : 0;
    char* first = map(reinterpret_cast<char*>(below), bytes + kSegmentUnit);
    if (!first) return nullptr;
    const size_t before = (kSegmentUnit - reinterpret_cast<uintptr_t>(first) % kSegmentUnit) % kSegmentUnit;
    if (before > 0) munmap(first, before);
    munmap(first + before + bytes, kSegmentUnit - before);
    return first + before;
  }

  const size_t depth_;   // below the system's other mappings
  char* end_ = nullptr;  // of what was allocated last
};

}  // namespace

Allocator& allocator(Device device) {
  if (device.kind == Device::Kind::cuda) return cuda::allocator(device.index);
  // Never destroyed: tensors with static storage duration may outlive any object that this file could destroy.
  static CachingAllocator& host = *new CachingAllocator(*new HostSource(0), *new HostSource(1));
  return host;
}

CachingAllocator::~CachingAllocator() {
  for (const auto& [pointer, segment] : segments_) segment.zone->source.release(pointer, segment.bytes);
}

CachingAllocator::Zone& CachingAllocator::zone_for(size_t size) {
  return size <= kSmallZone ? zones_.back() : zones_.front();
}

void* CachingAllocator::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::scoped_lock lock(mutex_);
  const size_t unit = keeps_ == Keeps::nothing ? 1 : bytes > kSmall ? kLargeUnit : kSmallUnit;
  const size_t size = round_up(std::min(bytes, kLargest), unit);
  MINIDL_CHECK(limit_ == 0 || stats_.in_use + static_cast<int64_t>(size) <= limit_,
               "[allocator] {} bytes requested, but {} are in use and the limit is {} (peak {}); use a smaller picture "
               "or a larger limit",
               bytes, stats_.in_use, limit_, stats_.peak_in_use);
  Zone& zone = zone_for(size);
  char* pointer = bytes <= kLargest ? take_block(zone, size) : nullptr;
  MINIDL_CHECK(pointer, "[allocator] out of memory: {} bytes requested, {} held of which {} in use (peak {})", bytes,
               stats_.held, stats_.in_use, stats_.peak_in_use);
  Block& block = blocks_.at(pointer);
  if (block.size - size >= kSmallUnit) {
    char* rest = pointer + size;
    blocks_[rest] = {block.size - size, &zone, block.segment, true};
    zone.free_list.emplace(block.size - size, rest);
    block.size = size;
  }
  block.free = false;
  stats_.in_use += static_cast<int64_t>(block.size);
  stats_.peak_in_use = std::max(stats_.peak_in_use, stats_.in_use);
  ++stats_.allocations;
  zone.source.set_usable(pointer, bytes, true);
  return pointer;
}

void CachingAllocator::deallocate(void* pointer) noexcept {
  if (!pointer) return;
  const std::scoped_lock lock(mutex_);
  auto block = blocks_.find(static_cast<char*>(pointer));
  if (block == blocks_.end() || block->second.free)
    std::abort();  // a pointer that is not ours, or freed twice: memory is corrupt
  stats_.in_use -= static_cast<int64_t>(block->second.size);
  block->second.free = true;
  block->second.zone->source.set_usable(pointer, block->second.size, false);

  add_free_block(block);
  if (keeps_ == Keeps::nothing) release_free_segments();
}

void CachingAllocator::add_free_block(std::map<char*, Block>::iterator block) {
  const auto touch = [](const auto& a, const auto& b) {
    return a->second.free && b->second.free && a->second.zone == b->second.zone &&
           a->second.segment == b->second.segment && a->first + a->second.size == b->first;
  };
  auto& free_list = block->second.zone->free_list;
  const auto next = std::next(block);
  if (next != blocks_.end() && touch(block, next)) {
    free_list.erase({next->second.size, next->first});
    block->second.size += next->second.size;
    blocks_.erase(next);
  }
  if (block != blocks_.begin()) {
    const auto previous = std::prev(block);
    if (touch(previous, block)) {
      free_list.erase({previous->second.size, previous->first});
      previous->second.size += block->second.size;
      blocks_.erase(block);
      block = previous;
    }
  }
  free_list.emplace(block->second.size, block->first);
}

/// A small request must not cut a large block into pieces that keep it from being reused whole, unless there is nothing
/// else.
char* CachingAllocator::take_block(Zone& zone, size_t size) {
  if (keeps_ == Keeps::nothing) return take_segment(zone, size);
  if (zone.source.extends()) return take_block_of_range(zone, size);
  char* pointer = take_free_block(zone, size, size > kSmall ? kLargest : kSegmentUnit);
  if (!pointer && size > kSmall && size < kShared) pointer = take_segment(zone, kSharedSegment);
  if (!pointer) pointer = take_segment(zone, round_up(size, kSegmentUnit));
  return pointer ? pointer : take_free_block(zone, size, kLargest);
}

char* CachingAllocator::take_block_of_range(Zone& zone, size_t size) {
  // More than what is missing is taken where the new segment does not follow the last one.
  for (int i = 0; i < 2; ++i) {
    if (char* pointer = take_free_block(zone, size, kLargest)) return pointer;
    const auto last = last_free_block(zone);
    const size_t missing = size - (last != blocks_.end() && i == 0 ? last->second.size : 0);
    char* segment = take_segment(zone, round_up(missing, kSegmentUnit));
    if (segment) add_free_block(blocks_.find(segment));
  }
  return take_free_block(zone, size, kLargest);
}

char* CachingAllocator::take_free_block(Zone& zone, size_t size, size_t largest) {
  auto& free_list = zone.free_list;
  auto best = free_list.lower_bound({size, nullptr});
  if (best != free_list.end() && best->second + best->first == zone.end && zone.source.extends()) {
    const auto next = std::next(best);
    if (next != free_list.end() && next->first <= largest) best = next;
  }
  if (best == free_list.end() || best->first > largest) return nullptr;
  char* pointer = best->second;
  free_list.erase(best);
  return pointer;
}

std::map<char*, CachingAllocator::Block>::iterator CachingAllocator::last_free_block(const Zone& zone) {
  auto block = blocks_.lower_bound(zone.end);
  if (block == blocks_.begin()) return blocks_.end();
  --block;
  const bool is_last = block->second.free && block->second.zone == &zone;
  return is_last && block->first + block->second.size == zone.end ? block : blocks_.end();
}

char* CachingAllocator::take_segment(Zone& zone, size_t bytes) {
  void* source = zone.source.allocate(bytes);
  if (!source && keeps_ != Keeps::everything) {
    release_free_segments();
    source = zone.source.allocate(bytes);
  }
  if (!source) return nullptr;
  char* pointer = static_cast<char*>(source);
  zone.source.set_usable(pointer, bytes, false);
  segments_[pointer] = {bytes, &zone};
  blocks_[pointer] = {bytes, &zone, zone.source.extends() ? nullptr : pointer, true};
  zone.end = pointer + bytes;
  stats_.held += static_cast<int64_t>(bytes);
  return pointer;
}

/// From the last segment to the first, so that a range shrinks at its end.
void CachingAllocator::release_free_segments() {
  for (auto segment = segments_.end(); segment != segments_.begin();) {
    --segment;
    char* const pointer = segment->first;
    const auto [bytes, zone] = segment->second;
    const auto block = std::prev(blocks_.upper_bound(pointer));
    const Block whole = block->second;
    char* first = block->first;
    if (!whole.free || first + whole.size < pointer + bytes) continue;
    zone->free_list.erase({whole.size, first});
    blocks_.erase(block);
    const auto keep = [&, zone = zone](char* from, char* to) {
      if (from == to) return;
      blocks_[from] = {static_cast<size_t>(to - from), zone, whole.segment, true};
      zone->free_list.emplace(static_cast<size_t>(to - from), from);
    };
    keep(first, pointer);
    keep(pointer + bytes, first + whole.size);
    segment = segments_.erase(segment);
    zone->source.set_usable(pointer, bytes, true);
    zone->source.release(pointer, bytes);
    if (zone->end == pointer + bytes) zone->end = pointer;
    stats_.held -= static_cast<int64_t>(bytes);
  }
}

MemoryStats CachingAllocator::stats() const {
  const std::scoped_lock lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  const std::scoped_lock lock(mutex_);
  stats_.peak_in_use = stats_.in_use;
}

void CachingAllocator::release_cached() {
  const std::scoped_lock lock(mutex_);
  release_free_segments();
}

bool CachingAllocator::owns(void* pointer) const {
  const std::scoped_lock lock(mutex_);
  return blocks_.contains(static_cast<char*>(pointer));
}

void CachingAllocator::set_limit(int64_t bytes) {
  const std::scoped_lock lock(mutex_);
  limit_ = bytes;
}

}  // namespace minidl

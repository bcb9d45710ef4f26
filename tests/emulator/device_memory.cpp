#include <emulator/device_description.h>
#include <emulator/device_memory.h>
#include <emulator/findings.h>
#include <emulator/race.h>
#include <emulator/sanitizer.h>
#include <emulator/signals.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace minidl::emulator {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kAlignment = 256;  // as cudaMalloc's
constexpr int kPoison = 0xff;       // a float of these bytes is NaN

constexpr size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

DeviceMemory& DeviceMemory::instance() {
  static auto* const memory = new DeviceMemory;  // outlives whatever frees memory at the end of the program
  return *memory;
}

DeviceMemory::DeviceMemory() {
  void* const mapped = ::mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    std::perror("emulator: no address space for device memory");
    std::abort();
  }
  base_ = next_ = static_cast<std::byte*>(mapped);
  install_signal_handler();
}

DeviceMemory::Open::Open() {
  DeviceMemory& memory = instance();
  if (memory.open_++ > 0) return;
  for (const Allocation* allocation : memory.live()) memory.protect(*allocation, PROT_READ | PROT_WRITE);
}

DeviceMemory::Open::~Open() {
  DeviceMemory& memory = instance();
  if (--memory.open_ > 0) return;
  for (const Allocation* allocation : memory.live()) memory.protect(*allocation, PROT_NONE);
}

void DeviceMemory::protect(const Allocation& allocation, int protection) const {
  if (::mprotect(allocation.pages, allocation.page_bytes, protection) == 0) return;
  std::perror("emulator: mprotect");
  std::abort();
}

void* DeviceMemory::allocate(size_t bytes) {
  const size_t padded = round_up(bytes, kAlignment), page_bytes = round_up(padded, kPage);
  const size_t total = device_description().total_memory;
  if (bytes > total || in_use_ + padded > total || page_bytes + kPage > static_cast<size_t>(base_ + kRange - next_)) {
    return nullptr;
  }
  Allocation allocation;
  allocation.pages = next_;
  allocation.page_bytes = page_bytes;
  allocation.begin = next_ + (page_bytes - padded);  // its end meets the closed page behind
  allocation.bytes = bytes;
  allocation.number = ++count_;
  next_ += page_bytes + kPage;
  protect(allocation, PROT_READ | PROT_WRITE);
  std::memset(allocation.pages, kPoison, page_bytes);
  poison(allocation.pages, page_bytes);
  unpoison(allocation.begin, bytes);
  if (open_ == 0) protect(allocation, PROT_NONE);
  in_use_ += padded;
  race::new_global(allocation.begin, bytes);
  live_.push_back(&allocations_.emplace(allocation.begin, allocation).first->second);
  return allocation.begin;
}

bool DeviceMemory::free(void* address) {
  const auto found = allocations_.find(static_cast<const std::byte*>(address));
  if (found == allocations_.end() || !found->second.live) return false;
  Allocation& allocation = found->second;
  {
    const Open open;
    check_guards("cudaFree");
  }
  allocation.live = false;
  live_.erase(std::find(live_.begin(), live_.end(), &allocation));
  last_found_ = nullptr;
  in_use_ -= round_up(allocation.bytes, kAlignment);
  race::forget(allocation.begin);
  poison(allocation.pages, allocation.page_bytes);
  protect(allocation, PROT_NONE);
  ::madvise(allocation.pages, allocation.page_bytes, MADV_DONTNEED);
  return true;
}

const DeviceMemory::Allocation* DeviceMemory::nearest(const void* address) const {
  auto found = allocations_.upper_bound(static_cast<const std::byte*>(address));
  if (found == allocations_.begin()) return nullptr;
  return &(--found)->second;
}

const DeviceMemory::Allocation* DeviceMemory::find(const void* address) const {
  if (last_found_ != nullptr && last_found_->contains(address, 1)) return last_found_;
  const Allocation* const allocation = nearest(address);
  if (allocation == nullptr || !allocation->live || !allocation->contains(address, 1)) return nullptr;
  return last_found_ = allocation;
}

bool DeviceMemory::valid(const void* address, size_t bytes) const {
  const Allocation* const allocation = find(address);
  return allocation != nullptr && allocation->contains(address, bytes);
}

Fault DeviceMemory::fault_at(const void* address) const {
  const Allocation* const allocation = nearest(address);
  const bool freed = allocation != nullptr && !allocation->live && allocation->contains(address, 1);
  return freed ? Fault::use_after_free : Fault::out_of_bounds;
}

std::string DeviceMemory::describe(const void* address) const {
  if (!contains(address)) return "an address that is not of the device";
  // An address just below an allocation belongs to that: pages hold one allocation each.
  const Allocation* allocation = nearest(address);
  const auto above = allocations_.upper_bound(static_cast<const std::byte*>(address));
  if (above != allocations_.end() && address >= above->second.pages) allocation = &above->second;
  if (allocation == nullptr) return "device memory of which nothing is allocated";
  const std::ptrdiff_t offset = static_cast<const std::byte*>(address) - allocation->begin;
  return (allocation->live ? "allocation " : "freed allocation ") + std::to_string(allocation->number) + " (" +
         std::to_string(allocation->bytes) + " bytes) " + (offset < 0 ? "- " : "+ ") +
         std::to_string(offset < 0 ? -offset : offset);
}

void DeviceMemory::check_guards(const std::string& after) {
  if (kAddressSanitizer) return;  // which watches these bytes itself
  for (const Allocation* allocation : live()) {
    std::byte* const begin = allocation->begin + allocation->bytes;
    std::byte* const end = allocation->pages + allocation->page_bytes;
    std::byte* const changed = std::find_if(begin, end, [](std::byte byte) { return byte != std::byte{kPoison}; });
    if (changed == end) continue;
    add_finding(Fault::overrun, "before the end of " + after + " something wrote to " + describe(changed));
    std::fill(begin, end, std::byte{kPoison});
  }
}

}  // namespace minidl::emulator

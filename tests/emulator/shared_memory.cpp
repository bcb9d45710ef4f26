#include <emulator/block.h>
#include <emulator/race.h>
#include <emulator/sanitizer.h>
#include <emulator/shared_memory.h>

#include <cstdlib>
#include <cstring>

namespace minidl::emulator {
namespace {

constexpr size_t kAlignment = 128;  // one row of the 32 banks: a variable begins in bank 0
constexpr size_t kGuard = 128;
constexpr int kPoison = 0xff;

size_t round_up(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

SharedMemory::SharedMemory() : base_(static_cast<std::byte*>(std::aligned_alloc(4096, kCapacity))) {
  if (base_ == nullptr) std::abort();
  poison(base_, kCapacity);
}

SharedMemory::~SharedMemory() {
  unpoison(base_, kCapacity);
  std::free(base_);
}

void SharedMemory::begin_block(size_t dynamic_bytes) {
  forget_known_shared();
  poison(base_, end_);
  variables_.clear();
  end_ = used_ = 0;
  dynamic_bytes_ = dynamic_bytes;
  if (dynamic_bytes > 0) make(nullptr, "dynamic", dynamic_bytes);
}

std::byte* SharedMemory::make(const void* key, const char* name, size_t bytes) {
  std::byte* const begin = base_ + end_;
  end_ += round_up(bytes) + kGuard;
  used_ += bytes;
  unpoison(begin, bytes);
  std::memset(begin, kPoison, bytes);
  race::new_shared(begin, bytes);
  variables_.push_back({key, name, begin, bytes});
  return begin;
}

void* SharedMemory::variable(const void* key, const char* name, size_t bytes) {
  for (const Variable& variable : variables_) {
    if (variable.key == key) return variable.begin;
  }
  const Launch& launch = current_block->launch();
  if (used_ + bytes > launch.shared_limit || used_ - dynamic_bytes_ + bytes > launch.static_shared_limit) {
    current_block->report(Fault::device_limit,
                          std::string("shared array '") + name + "' of " + std::to_string(bytes) + " bytes, with " +
                              std::to_string(used_) + " in use, exceeds the " + std::to_string(launch.shared_limit) +
                              " bytes that this kernel may have, or the " + std::to_string(launch.static_shared_limit) +
                              " of arrays of fixed size");
    current_block->leave();
  }
  return make(key, name, bytes);
}

const SharedMemory::Variable* SharedMemory::find(const void* address) const {
  const auto* const byte = static_cast<const std::byte*>(address);
  for (const Variable& variable : variables_) {
    if (byte >= variable.begin && byte < variable.begin + variable.bytes) return &variable;
  }
  return nullptr;
}

KnownRange SharedMemory::range(const void* address) const {
  const Variable* const variable = find(address);
  if (variable == nullptr) return {};
  return {reinterpret_cast<uintptr_t>(variable->begin), variable->bytes};
}

std::string SharedMemory::describe(const void* address) const {
  const auto* const byte = static_cast<const std::byte*>(address);
  const auto text = [&](const Variable& variable) {
    return std::string("shared array '") + variable.name + "' (" + std::to_string(variable.bytes) + " bytes) + " +
           std::to_string(byte - variable.begin);
  };
  const Variable* before = nullptr;
  for (const Variable& variable : variables_) {
    if (byte >= variable.begin) before = &variable;  // ascending
  }
  return before == nullptr ? "shared memory of which this block has none" : text(*before);
}

}  // namespace minidl::emulator

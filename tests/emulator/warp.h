#pragma once
#include <emulator/access.h>
#include <emulator/block.h>
#include <emulator/race.h>

#include <bit>
#include <cstring>
#include <type_traits>

/// Shuffles, votes and reductions of a warp, and atomics, in terms of Block::collective.
namespace minidl::emulator {

/// The lane that a shuffle of the running thread reads, in its segment of `width` lanes.
inline int lane_in_segment(int lane, int width) {
  return (current_thread->lane() & ~(width - 1)) + (lane & (width - 1));
}
inline int lane_below(unsigned delta, int width) {
  const int own = current_thread->lane(), source = own - static_cast<int>(delta);
  return source < (own & ~(width - 1)) ? own : source;
}
inline int lane_above(unsigned delta, int width) {
  const int own = current_thread->lane(), source = own + static_cast<int>(delta);
  return source >= (own & ~(width - 1)) + width ? own : source;
}
inline int lane_xor(int bits, int width) {
  const int own = current_thread->lane(), source = own ^ bits;
  return source >= (own & ~(width - 1)) + width ? own : source;
}

/// The value of lane `source`. What a lane that does not take part would give is undefined: bytes of 0xff here, NaN in
/// a float.
template <typename T>
T shuffle(uint32_t mask, T value, int source, Location location) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles take 4 or 8 bytes");
  struct Input {
    T value;
    int source;
  };
  const Input input{value, source};
  T output;
  current_block->collective(mask, &input, sizeof input, &output, sizeof output, location,
                            [](Collective& warp, uint32_t lanes) {
                              for (int lane = 0; lane < kWarpSize; ++lane) {
                                if ((lanes >> lane & 1) == 0) continue;
                                Input own, other;
                                std::memcpy(&own, warp.inputs[lane].data(), sizeof own);
                                if ((lanes >> own.source & 1) != 0) {
                                  std::memcpy(&other, warp.inputs[own.source].data(), sizeof other);
                                } else {
                                  std::memset(static_cast<void*>(&other), 0xff, sizeof other);
                                }
                                std::memcpy(warp.outputs[lane].data(), &other.value, sizeof(T));
                              }
                            });
  return output;
}

struct Ballot {
  uint32_t yes, lanes;
};
Ballot ballot(uint32_t mask, bool predicate, Location location);

/// `combine` is a function without state, applied in the order of the lanes.
template <typename T, typename Combine>
T reduce(uint32_t mask, T value, Combine, Location location) {
  T output;
  current_block->collective(mask, &value, sizeof value, &output, sizeof output, location,
                            [](Collective& warp, uint32_t lanes) {
                              T total, next;
                              std::memcpy(&total, warp.inputs[std::countr_zero(lanes)].data(), sizeof total);
                              for (int lane = std::countr_zero(lanes) + 1; lane < kWarpSize; ++lane) {
                                if ((lanes >> lane & 1) == 0) continue;
                                std::memcpy(&next, warp.inputs[lane].data(), sizeof next);
                                total = Combine{}(total, next);
                              }
                              for (auto& slot : warp.outputs) std::memcpy(slot.data(), &total, sizeof total);
                            });
  return output;
}

/// Returns the old value.
template <typename T, typename Operation>
T atomic(T* address, Operation operation) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "atomics take 4 or 8 bytes");
  on_access(address, sizeof(T), sizeof(T), Access::write);
  race::atomic(address, sizeof(T));
  T value;
  copy_unseen(&value, address, sizeof(T));
  const T changed = operation(value);
  copy_unseen(address, &changed, sizeof(T));
  return value;
}

}  // namespace minidl::emulator

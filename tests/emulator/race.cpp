#include <dlfcn.h>
#include <emulator/access.h>
#include <emulator/block.h>
#include <emulator/device_memory.h>
#include <emulator/findings.h>
#include <emulator/race.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <unordered_map>

namespace minidl::emulator::race {
namespace {

/// Who accessed some bytes last, and when. Epochs count barriers and blocks of the whole program, warp epochs count
/// __syncwarp() of a warp within a block.
struct Cell {
  enum class Readers : uint8_t { one_thread, one_warp, many };

  uint32_t write_epoch = 0, write_warp_epoch = 0;
  uint32_t first_read_epoch = 0;  // of this launch
  uint32_t read_epoch = 0, read_warp_epoch = 0;
  uint16_t writer = 0, reader = 0;        // numbers of threads; the reader is the last
  Readers readers = Readers::one_thread;  // in read_epoch
  bool write_was_atomic = false;
  bool split = false;  // bytes have cells of their own
};

/// Cells of 4 bytes each, and of single bytes where narrower accesses happened.
struct Shadow {
  const std::byte* begin = nullptr;
  size_t bytes = 0;
  bool global = false;
  std::vector<Cell> words;
  std::unordered_map<size_t, std::array<Cell, 4>> split_words;

  bool contains(const void* address) const {
    const auto* const byte = static_cast<const std::byte*>(address);
    return byte >= begin && byte < begin + bytes;
  }
};

enum class Kind { read, write, atomic };

constinit bool enabled = false;

/// What a thread of a block released: the block's accesses before its last barrier, and its own after that.
struct Released {
  uint32_t first, last;  // epochs
  uint16_t thread;
};

/// Of a thread, in its block: whether it fenced and wrote nothing since, and the atomics that it changed.
struct Fencing {
  bool fenced = false;
  std::vector<const void*> changed;
};

struct State {
  uint32_t epoch = 1, launch_first = 1, block_first = 1;
  std::map<const void*, std::vector<Released>> released;  // by atomic: what is ordered before who changes it and fences
  std::vector<Released> seen;                             // of other blocks, by the running one
  std::map<int, Fencing> fencing;  // by thread of the running block; those that fenced or changed atomics
  std::array<uint32_t, kMaxThreads / kWarpSize> warp_epochs{};
  std::map<const void*, Shadow> global;
  Shadow shared;
  Shadow* last = nullptr;
  std::set<const void*> reported;  // instructions, in this launch
};

State& state() {
  static auto* const instance = new State;
  return *instance;
}

void advance(State& s) {
  if (++s.epoch != 0) return;
  std::fprintf(stderr, "emulator: more barriers than the race detector can count\n");
  std::abort();
}

/// One access by the running thread, compared with what a cell remembers.
class Checker {
 public:
  Checker(const State& s, bool global)
      : state_(s),
        global_(global),
        thread_(static_cast<uint16_t>(current_thread->number)),
        warp_epoch_(s.warp_epochs[current_thread->warp()]) {}

  /// What is wrong, or nullptr; then the cell remembers this access.
  const char* access(Cell& cell, Kind kind) const {
    const bool both_atomic = kind == Kind::atomic && cell.write_was_atomic;
    const char* wrong = nullptr;
    if (!both_atomic && !ordered(cell.write_epoch, cell.write_warp_epoch, cell.writer)) {
      wrong = kind == Kind::read ? "read of what another thread wrote" : "second write";
    }
    if (kind == Kind::read) {
      note_read(cell);
    } else {
      if (wrong == nullptr && !readers_ordered(cell)) wrong = "write to what another thread read";
      cell.write_epoch = state_.epoch;
      cell.write_warp_epoch = warp_epoch_;
      cell.writer = thread_;
      cell.write_was_atomic = kind == Kind::atomic;
    }
    return wrong;
  }

 private:
  bool same_warp(uint16_t other) const { return other / kWarpSize == thread_ / kWarpSize; }
  bool by_other_block(uint32_t epoch, int thread) const {
    return global_ && epoch >= state_.launch_first && epoch < state_.block_first &&
           std::none_of(state_.seen.begin(), state_.seen.end(), [&](const Released& block) {
             return epoch >= block.first && (epoch < block.last || (epoch == block.last && thread == block.thread));
           });
  }
  bool ordered(uint32_t epoch, uint32_t warp_epoch, uint16_t other) const {
    if (by_other_block(epoch, other)) return false;
    return epoch < state_.epoch || other == thread_ || (same_warp(other) && warp_epoch < warp_epoch_);
  }
  bool readers_ordered(const Cell& cell) const {
    if (by_other_block(cell.first_read_epoch, -1)) return false;
    if (cell.read_epoch < state_.epoch) return true;
    if (cell.readers == Cell::Readers::many) return false;
    const bool before = same_warp(cell.reader) && cell.read_warp_epoch < warp_epoch_;
    return before || (cell.readers == Cell::Readers::one_thread && cell.reader == thread_);
  }
  void note_read(Cell& cell) const {
    if (cell.first_read_epoch < state_.launch_first) cell.first_read_epoch = state_.epoch;
    const bool alone = cell.read_epoch < state_.epoch || (cell.readers != Cell::Readers::many &&
                                                          same_warp(cell.reader) && cell.read_warp_epoch < warp_epoch_);
    if (alone) {
      cell.readers = Cell::Readers::one_thread;
    } else if (cell.readers == Cell::Readers::many || !same_warp(cell.reader)) {
      cell.readers = Cell::Readers::many;
    } else if (cell.reader != thread_) {
      cell.readers = Cell::Readers::one_warp;
    }
    cell.read_epoch = state_.epoch;
    cell.read_warp_epoch = warp_epoch_;
    cell.reader = thread_;
  }

  const State& state_;
  bool global_;
  uint16_t thread_;
  uint32_t warp_epoch_;
};

/// "program + 0x1234", as addr2line takes it.
std::string place(const void* instruction) {
  Dl_info information;
  if (instruction == nullptr || ::dladdr(instruction, &information) == 0) return "an asynchronous copy or atomic";
  char text[32];
  const auto offset = static_cast<const char*>(instruction) - static_cast<const char*>(information.dli_fbase);
  std::snprintf(text, sizeof text, " + %#zx", static_cast<size_t>(offset));
  return information.dli_fname + std::string(text);
}

void report(State& s, const char* wrong, const Shadow& shadow, const void* address, const void* instruction) {
  if (!s.reported.insert(instruction).second) return;
  const std::string where =
      shadow.global ? DeviceMemory::instance().describe(address) : current_block->shared().describe(address);
  add_finding(Fault::race, "kernel " + current_block->launch().kernel + ", " + position() + ": " + wrong +
                               ", unordered, at " + where + "; " + place(instruction));
}

Shadow* find(State& s, const void* address) {
  if (s.last != nullptr && s.last->contains(address)) return s.last;
  if (s.shared.contains(address)) return s.last = &s.shared;
  if (!DeviceMemory::instance().contains(address)) return nullptr;
  auto found = s.global.upper_bound(address);
  if (found == s.global.begin() || !(--found)->second.contains(address)) return nullptr;
  return s.last = &found->second;
}

void access(const void* address, size_t bytes, Kind kind, const void* instruction) {
  if (!enabled || current_thread == nullptr) return;
  const bool shared_address = current_block->shared().contains(address);
  if (!shared_address && !DeviceMemory::instance().contains(address)) return;
  check_access(address, bytes, 1, kind == Kind::read ? Access::read : Access::write);
  State& s = state();
  Shadow* const shadow = find(s, address);
  if (shadow == nullptr) return;
  if (kind == Kind::write && shadow->global && !s.fencing.empty()) {
    const auto own = s.fencing.find(current_thread->number);
    if (own != s.fencing.end()) own->second.fenced = false;
  }
  const Checker checker(s, shadow->global);
  const char* wrong = nullptr;
  const auto check = [&](Cell& cell) {
    if (const char* const found = checker.access(cell, kind)) wrong = found;
  };
  const size_t first = static_cast<size_t>(static_cast<const std::byte*>(address) - shadow->begin), end = first + bytes;
  for (size_t word = first / 4; word * 4 < end; ++word) {
    Cell& cell = shadow->words[word];
    const size_t from = std::max(first, word * 4) - word * 4, to = std::min(end - word * 4, size_t{4});
    if (!cell.split && from == 0 && to == 4) {
      check(cell);
      continue;
    }
    if (!cell.split) {
      shadow->split_words[word] = {cell, cell, cell, cell};
      cell.split = true;
    }
    std::array<Cell, 4>& cells = shadow->split_words[word];
    for (size_t byte = from; byte < to; ++byte) check(cells[byte]);
  }
  if (wrong != nullptr) report(s, wrong, *shadow, address, instruction);
}

}  // namespace

void enable() {
  enabled = true;
}

void begin_launch() {
  if (!enabled) return;
  State& s = state();
  advance(s);
  s.launch_first = s.block_first = s.epoch;
  s.reported.clear();
  s.released.clear();
  s.seen.clear();
  s.fencing.clear();
}

void begin_block() {
  if (!enabled) return;
  State& s = state();
  advance(s);
  s.block_first = s.epoch;
  s.warp_epochs.fill(0);
  s.seen.clear();
  s.fencing.clear();
}

void barrier() {
  if (enabled) advance(state());
}

void sync_warp(int warp) {
  if (enabled) ++state().warp_epochs[static_cast<size_t>(warp)];
}

void new_shared(const void* begin, size_t bytes) {
  if (!enabled) return;
  // One shadow for all variables of a block: what earlier blocks left in it is known by its epoch.
  Shadow& shared = state().shared;
  if (shared.begin == nullptr || begin < shared.begin) shared.begin = static_cast<const std::byte*>(begin);
  const size_t end = static_cast<size_t>(static_cast<const std::byte*>(begin) - shared.begin) + bytes;
  shared.bytes = std::max(shared.bytes, end);
  shared.words.resize(shared.bytes / 4 + 1);
}

void new_global(const void* begin, size_t bytes) {
  if (!enabled) return;
  Shadow& shadow = state().global[begin];
  shadow = {static_cast<const std::byte*>(begin), bytes, true, {}, {}};
  shadow.words.resize(bytes / 4 + 1);
}

void forget(const void* begin) {
  if (!enabled) return;
  state().last = nullptr;
  state().global.erase(begin);
}

void read(const void* address, size_t bytes, const void* instruction) {
  access(address, bytes, Kind::read, instruction);
}
void write(const void* address, size_t bytes, const void* instruction) {
  access(address, bytes, Kind::write, instruction);
}
void atomic(const void* address, size_t bytes) {
  access(address, bytes, Kind::atomic, nullptr);
  if (!enabled || current_thread == nullptr) return;
  State& s = state();
  Fencing& own = s.fencing[current_thread->number];
  own.changed.push_back(address);
  if (own.fenced)
    s.released[address].push_back({s.block_first, s.epoch, static_cast<uint16_t>(current_thread->number)});
}
void fence() {
  if (!enabled || current_thread == nullptr) return;
  State& s = state();
  Fencing& own = s.fencing[current_thread->number];
  own.fenced = true;
  for (const void* const address : own.changed) {
    const std::vector<Released>& blocks = s.released[address];
    s.seen.insert(s.seen.end(), blocks.begin(), blocks.end());
  }
}

}  // namespace minidl::emulator::race

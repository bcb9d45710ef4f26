#include <emulator/block.h>
#include <emulator/counters.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace minidl::emulator {
namespace {

constexpr uintptr_t kSector = 32, kBankBytes = 4;
constexpr int kBanks = 32;

/// The accesses of the lanes of one warp that belong together.
struct Request {
  std::array<uintptr_t, kWarpSize> addresses{};
  uint32_t lanes = 0;
  size_t bytes = 0;
  bool shared = false;
};

/// What one instruction of a warp asked for since its lanes last met: requests in order, and how often each lane came
/// by.
struct Instruction {
  std::vector<Request> requests;
  std::array<uint32_t, kWarpSize> executed{};
};

struct State {
  LaunchCounters current;
  std::vector<LaunchCounters> launches;
  std::array<std::unordered_map<const void*, Instruction>, kMaxThreads / kWarpSize> warps;
};

State& state() {
  static auto* const instance = new State;
  return *instance;
}

void count_global(LaunchCounters& counters, const Request& request) {
  std::array<uintptr_t, kWarpSize> addresses;
  size_t count = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((request.lanes >> lane & 1) != 0) addresses[count++] = request.addresses[lane];
  }
  std::sort(addresses.begin(), addresses.begin() + count);
  int64_t sectors = 0;
  size_t distinct_bytes = 0;
  uintptr_t end = 0, next_sector = 0;  // behind the bytes and the sectors seen so far
  for (size_t i = 0; i < count; ++i) {
    const uintptr_t begin = addresses[i], stop = begin + request.bytes;
    if (stop > end) distinct_bytes += stop - std::max(begin, end);
    end = std::max(end, stop);
    const uintptr_t first = std::max(begin / kSector, next_sector), last = (stop - 1) / kSector;
    if (last >= first) sectors += static_cast<int64_t>(last - first + 1);
    next_sector = std::max(next_sector, last + 1);
  }
  ++counters.global_requests;
  counters.sectors += sectors;
  counters.ideal_sectors += static_cast<int64_t>((distinct_bytes + kSector - 1) / kSector);
}

/// Lanes are served in turns of as many as 128 bytes go to. In a turn every bank gives one word a cycle, to all who ask
/// for it.
void count_shared(LaunchCounters& counters, const Request& request) {
  const int words = static_cast<int>(std::max(request.bytes / kBankBytes, size_t{1}));
  const int lanes_per_turn = kWarpSize / words;
  int64_t conflicts = 0;
  for (int first = 0; first < kWarpSize; first += lanes_per_turn) {
    std::array<std::vector<uintptr_t>, kBanks> banks;
    for (int lane = first; lane < first + lanes_per_turn; ++lane) {
      if ((request.lanes >> lane & 1) == 0) continue;
      for (int i = 0; i < words; ++i) {
        const uintptr_t word = request.addresses[lane] / kBankBytes + static_cast<uintptr_t>(i);
        std::vector<uintptr_t>& bank = banks[word % kBanks];
        if (std::find(bank.begin(), bank.end(), word) == bank.end()) bank.push_back(word);
      }
    }
    size_t cycles = 1;
    for (const auto& bank : banks) cycles = std::max(cycles, bank.size());
    conflicts += static_cast<int64_t>(cycles - 1);
  }
  ++counters.shared_requests;
  counters.bank_conflicts += conflicts;
}

void flush(State& s, size_t warp) {
  for (const auto& [place, instruction] : s.warps[warp]) {
    for (const Request& request : instruction.requests) {
      request.shared ? count_shared(s.current, request) : count_global(s.current, request);
    }
  }
  s.warps[warp].clear();
}

void flush_all(State& s) {
  for (size_t warp = 0; warp < s.warps.size(); ++warp) {
    if (!s.warps[warp].empty()) flush(s, warp);
  }
}

}  // namespace

std::vector<LaunchCounters> take_counters() {
  return std::exchange(state().launches, {});
}

namespace counters {

constinit bool counting = false;

void begin_launch(const std::string& kernel, int64_t blocks, int64_t threads) {
  State& s = state();
  counting = options().count;
  s.current = {};
  s.current.kernel = kernel;
  s.current.blocks = blocks;
  s.current.threads = threads;
}

void end_launch() {
  State& s = state();
  if (counting) s.launches.push_back(s.current);
  counting = false;
}

void end_block() {
  if (counting) flush_all(state());
}

void barrier() {
  if (!counting) return;
  State& s = state();
  ++s.current.barriers;
  flush_all(s);
}

void collective(int warp, bool whole) {
  if (!counting) return;
  State& s = state();
  ++s.current.warp_collectives;
  if (whole) flush(s, static_cast<size_t>(warp));
}

void access(const void* address, size_t bytes, Access access, const void* place) {
  if (!counting) return;
  State& s = state();
  const bool shared = current_block->shared().contains(address);
  if (!shared) (access == Access::read ? s.current.bytes_read : s.current.bytes_written) += static_cast<int64_t>(bytes);
  Instruction& instruction = s.warps[static_cast<size_t>(current_thread->warp())][place];
  const int lane = current_thread->lane();
  const size_t turn = instruction.executed[lane]++;
  if (instruction.requests.size() <= turn) instruction.requests.resize(turn + 1);
  Request& request = instruction.requests[turn];
  request.addresses[lane] = reinterpret_cast<uintptr_t>(address);
  request.lanes |= 1u << lane;
  request.bytes = bytes;
  request.shared = shared;
}

void add_flops(int64_t count) {
  state().current.flops += count;
}

void tensor_flops(int64_t count) {
  if (counting) state().current.tensor_flops += count;
}

void bank_conflicts(int64_t cycles) {
  if (!counting) return;
  State& s = state();
  ++s.current.shared_requests;
  s.current.bank_conflicts += cycles;
}

}  // namespace counters
}  // namespace minidl::emulator

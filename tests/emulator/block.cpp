#include <emulator/async_copy.h>
#include <emulator/block.h>
#include <emulator/counters.h>
#include <emulator/findings.h>
#include <emulator/race.h>
#include <emulator/stacks.h>

#include <cstring>
#include <utility>

// The built-in variables of kernels, kept up to date at every switch.
constinit thread_local minidl::emulator::Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace minidl::emulator {

constinit thread_local Block* current_block = nullptr;
constinit thread_local Thread* current_thread = nullptr;

namespace {

constexpr unsigned kYieldOneIn = 16;
constinit thread_local int64_t switch_count = 0;

std::string text(Index3 index) {
  return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

}  // namespace

int64_t switches() {
  return switch_count;
}

std::string position() {
  if (current_block == nullptr) return "host";
  const std::string block = "block " + text(current_block->index());
  return current_thread == nullptr ? block : block + ", thread " + text(current_thread->index);
}

bool Block::run(const Launch& launch, Index3 index) {
  static thread_local Block block;
  block.begin(launch, index);
  current_block = &block;
  block.switch_to(*block.next_ready());
  counters::end_block();
  current_block = nullptr;
  return !block.stopped_;
}

void Block::begin(const Launch& launch, Index3 index) {
  launch_ = &launch;
  index_ = index;
  const Index3 size = launch.block;
  live_ = static_cast<int>(size.x * size.y * size.z);
  waiting_at_barrier_ = 0;
  stopped_ = false;
  random_state_ = options().seed * 0x9E3779B97F4A7C15u ^ (index.x + 1 + 7919u * index.y + 104729u * uint64_t{index.z});
  if (random_state_ == 0) random_state_ = 1;
  race::begin_block();
  shared_.begin_block(launch.dynamic_shared);
  warps_.assign(static_cast<size_t>((live_ + kWarpSize - 1) / kWarpSize), {});
  if (threads_.size() != static_cast<size_t>(live_)) threads_ = std::vector<Thread>(static_cast<size_t>(live_));
  for (int i = 0; i < live_; ++i) {
    Thread& thread = threads_[i];
    const unsigned number = static_cast<unsigned>(i);
    thread.index = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
    thread.number = i;
    thread.state = Thread::State::ready;
    thread.copies.clear();
    thread.committed_groups = 0;
    thread.context.prepare(stacks().stack(i), Stacks::kBytes, &Block::run_thread);
    warps_[thread.warp()].live |= 1u << thread.lane();
  }
  ::blockIdx = index;
  ::blockDim = size;
  ::gridDim = launch.grid;
}

void Block::run_thread() {
  current_block->launch_->body();
  current_block->finish_thread();
}

void Block::finish_thread() {
  async_copy::finish(*current_thread);
  current_thread->state = Thread::State::done;
  --live_;
  Collective& warp = warps_[current_thread->warp()];
  warp.live &= ~(1u << current_thread->lane());
  if (warp.arrived != 0 && warp.arrived == (warp.mask & warp.live)) finish_collective(current_thread->warp());
  if (waiting_at_barrier_ > 0) {
    report(Fault::divergent_barrier,
           "the thread returned while others wait in __syncthreads() at " + barrier_location_.str());
    leave();
  }
  Thread* const next = next_ready();
  if (next != nullptr) {
    switch_to(*next);
  } else if (live_ > 0) {
    for (const Thread& thread : threads_) {
      if (thread.state != Thread::State::in_collective) continue;
      report(Fault::divergent_collective, "no thread can go on: thread " + text(thread.index) +
                                              " waits for lanes of its warp at " + thread.waiting.str());
      leave();
    }
  }
  leave();
}

Thread* Block::next_ready() {
  const int count = static_cast<int>(threads_.size());
  const Schedule schedule = options().schedule;
  const int step = schedule == Schedule::reverse ? count - 1 : 1;
  int number = current_thread == nullptr ? (schedule == Schedule::reverse ? count - 1 : 0)
                                         : (current_thread->number + step) % count;
  if (schedule == Schedule::random) number = static_cast<int>(random() % static_cast<uint64_t>(count));
  for (int i = 0; i < count; ++i) {
    if (threads_[number].state == Thread::State::ready) return &threads_[number];
    number = number + step < count ? number + step : number + step - count;
  }
  return nullptr;
}

void Block::switch_to(Thread& next) {
  Thread* const self = current_thread;
  if (&next == self) return;
  ++switch_count;
  current_thread = &next;
  ::threadIdx = next.index;
  Context& from = self == nullptr ? launcher_ : self->context;
  from.switch_to(next.context, self != nullptr && self->state == Thread::State::done);
}

void Block::leave() {
  Context& from = current_thread->context;
  current_thread = nullptr;
  from.switch_to(launcher_, true);
  __builtin_unreachable();
}

void Block::report(Fault fault, const std::string& message) {
  add_finding(fault, "kernel " + launch_->kernel + ", " + position() + ": " + message);
  stopped_ = true;
}

void Block::wait(Thread::State state, Location location) {
  current_thread->state = state;
  current_thread->waiting = location;
  Thread* const next = next_ready();
  if (next == nullptr) {
    const bool barrier = state == Thread::State::at_barrier || waiting_at_barrier_ > 0;
    const auto other = [&]() -> std::string {
      for (const Thread& thread : threads_) {
        if (thread.state == Thread::State::done || thread.waiting == location) continue;
        return "; thread " + text(thread.index) + " waits at " + thread.waiting.str();
      }
      return "";
    };
    report(barrier ? Fault::divergent_barrier : Fault::divergent_collective,
           "no thread can go on: this one waits at " + location.str() + other());
    leave();
  }
  switch_to(*next);
}

void Block::barrier(Location location) {
  const auto threads = static_cast<int>(threads_.size());
  if (live_ < threads) {
    report(Fault::divergent_barrier, "__syncthreads() at " + location.str() + ", where " +
                                         std::to_string(threads - live_) +
                                         " threads of the block never come: they returned");
    leave();
  }
  if (waiting_at_barrier_ > 0 && barrier_location_ != location) {
    report(Fault::divergent_barrier,
           "__syncthreads() at " + location.str() + " while others wait at " + barrier_location_.str());
    leave();
  }
  barrier_location_ = location;
  if (++waiting_at_barrier_ < live_) {
    wait(Thread::State::at_barrier, location);
    return;
  }
  release_barrier();
  if (options().schedule != Schedule::forward) switch_to(*next_ready());
}

void Block::release_barrier() {
  for (Thread& thread : threads_) thread.state = Thread::State::ready;
  waiting_at_barrier_ = 0;
  counters::barrier();
  race::barrier();
}

void Block::collective(uint32_t mask, const void* input, size_t input_bytes, void* output, size_t output_bytes,
                       Location location, void (*compute)(Collective&, uint32_t)) {
  Collective& warp = warps_[current_thread->warp()];
  const int lane = current_thread->lane();
  if ((mask >> lane & 1) == 0) {
    report(Fault::divergent_collective, "the lane is not in its own mask at " + location.str());
    leave();
  }
  if (warp.arrived != 0 && (warp.mask != mask || warp.location != location)) {
    report(Fault::divergent_collective, "lanes of the warp meet at " + location.str() + " and at " +
                                            warp.location.str() + (warp.mask != mask ? " with different masks" : ""));
    leave();
  }
  if (input_bytes > 0) std::memcpy(warp.inputs[lane].data(), input, input_bytes);
  warp.arrived |= 1u << lane;
  warp.mask = mask;
  warp.location = location;
  warp.compute = compute;
  if (warp.arrived == (mask & warp.live)) {
    finish_collective(current_thread->warp());
  } else {
    wait(Thread::State::in_collective, location);
  }
  if (output_bytes > 0) std::memcpy(output, warp.outputs[lane].data(), output_bytes);
}

void Block::finish_collective(int number) {
  Collective& warp = warps_[number];
  const uint32_t lanes = std::exchange(warp.arrived, 0);
  warp.compute(warp, lanes);
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((lanes >> lane & 1) != 0) threads_[number * kWarpSize + lane].state = Thread::State::ready;
  }
  counters::collective(number, lanes == warp.live);
}

void Block::sync_warp(uint32_t mask, Location location) {
  // Shuffles and votes order no memory accesses; this does. Epochs are kept of whole warps: a part of one orders
  // nothing here.
  collective(mask, nullptr, 0, nullptr, 0, location, [](Collective& warp, uint32_t lanes) {
    if (lanes == warp.live) race::sync_warp(current_thread->warp());
  });
}

void Block::maybe_yield() {
  if (options().schedule == Schedule::random && random() % kYieldOneIn == 0) switch_to(*next_ready());
}

uint64_t Block::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return random_state_;
}

}  // namespace minidl::emulator

#include <emulator/access.h>
#include <emulator/async_copy.h>
#include <emulator/counters.h>
#include <emulator/race.h>

#include <algorithm>
#include <cstring>

namespace minidl::emulator::async_copy {
namespace {

/// Access checks come here and not when the copy is issued: what it reads must still be there when it is done.
void perform(const AsyncCopy& copy) {
  const size_t read = copy.bytes - copy.zeros;
  check_access(copy.shared, copy.bytes, copy.bytes, Access::write);
  race::write(copy.shared, copy.bytes);
  if (read > 0) {  // otherwise the address may be anything
    check_access(copy.global, read, copy.bytes, Access::read);
    race::read(copy.global, read);
    std::memcpy(copy.shared, copy.global, read);
  }
  std::memset(static_cast<std::byte*>(copy.shared) + read, 0, copy.zeros);
}

}  // namespace

void issue(void* shared, const void* global, size_t bytes, size_t zeros) {
  if (!current_block->shared().contains(shared)) {
    current_block->report(Fault::out_of_bounds, "an asynchronous copy whose target is not in shared memory");
    current_block->leave();
  }
  // Two accesses at one place in the kernel, told apart for the counters.
  const auto* const place = static_cast<const std::byte*>(__builtin_return_address(0));
  if (bytes > zeros) counters::access(global, bytes - zeros, Access::read, place);
  counters::access(shared, bytes, Access::write, place + 1);
  const AsyncCopy copy{shared, global, bytes, zeros, current_thread->committed_groups};
  const Completion completion = options().copies;
  if (completion == Completion::early || (completion == Completion::random && current_block->random() % 2 == 0)) {
    perform(copy);
  } else {
    race::write(copy.shared, copy.bytes);  // from now on it may happen
    current_thread->copies.push_back(copy);
  }
}

void commit() {
  ++current_thread->committed_groups;
}

void wait_prior(int64_t groups) {
  std::vector<AsyncCopy>& copies = current_thread->copies;
  const int64_t pending = current_thread->committed_groups - groups;  // groups from here on may stay so
  const auto end =
      std::find_if(copies.begin(), copies.end(), [&](const AsyncCopy& copy) { return copy.group >= pending; });
  for (auto copy = copies.begin(); copy != end; ++copy) perform(*copy);
  copies.erase(copies.begin(), end);
}

void finish(Thread& thread) {
  for (const AsyncCopy& copy : thread.copies) perform(copy);
  thread.copies.clear();
}

}  // namespace minidl::emulator::async_copy

#pragma once
#include <support/sanitizer.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <fstream>
#include <functional>
#include <string>

namespace minidl::test {

/// Runs `body` in a forked process and returns what it returned; "crashed with signal N" when it did not get that far.
inline std::string in_child_process(const std::function<std::string()>& body) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child < 0) return "no process";
  if (child == 0) {
    ::close(ends[0]);
    const std::string result = body();
    const ssize_t written = ::write(ends[1], result.data(), result.size());
    ::_exit(written == static_cast<ssize_t>(result.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string result;
  char piece[4096];
  for (ssize_t count; (count = ::read(ends[0], piece, sizeof piece)) > 0;)
    result.append(piece, static_cast<size_t>(count));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? "crashed with signal " + std::to_string(WTERMSIG(status)) : result;
}

/// The message of the exception that `body` throws in a process whose address space is limited; "nothing was thrown"
/// when it comes to its end. Nothing to be used under sanitizers, which reserve terabytes.
inline std::string message_under_memory_limit(int64_t bytes, const std::function<void()>& body) {
  return in_child_process([&]() -> std::string {
    const rlimit limit{static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) return "the limit could not be set";
    try {
      body();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "nothing was thrown";
  });
}

/// Largest resident memory of this process so far, in KiB.
inline int64_t peak_resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmHWM:") continue;
    int64_t kib = 0;
    status >> kib;
    return kib;
  }
  return 0;
}

}  // namespace minidl::test

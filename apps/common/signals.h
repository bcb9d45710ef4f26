#pragma once
#include <csignal>

namespace minidl::apps {

/// While an object lives, the first SIGINT (Ctrl-C) or SIGTERM only sets a flag that the program's loop asks for; the
/// second one ends the process at once with code 128 + signal (130 for Ctrl-C). The former handling comes back with the
/// destructor. One object at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// A signal has arrived since construction.
  bool requested() const { return signal() != 0; }
  /// Its number; 0: none.
  int signal() const;
  /// Exit code for having stopped because of it.
  int exit_code() const { return 128 + signal(); }

 private:
  struct sigaction before_interrupt_ {
  }, before_terminate_{};
};

}  // namespace minidl::apps

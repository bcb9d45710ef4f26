#include <emulator/findings.h>
#include <emulator/runtime.h>

#include <cstdio>
#include <utility>

namespace minidl::emulator {
namespace {

std::vector<Finding>& findings() {
  static auto* const instance = new std::vector<Finding>;
  return *instance;
}

/// What the runtime answers after a kernel stopped; success for what a GPU does not notice.
cudaError_t error_of(Fault fault) {
  switch (fault) {
    case Fault::out_of_bounds:
    case Fault::use_after_free:
    case Fault::stack_overflow:
      return cudaErrorIllegalAddress;
    case Fault::misaligned:
      return cudaErrorMisalignedAddress;
    case Fault::divergent_barrier:
    case Fault::divergent_collective:
    case Fault::device_limit:
      return cudaErrorLaunchFailure;
    case Fault::race:
    case Fault::overrun:
    case Fault::bad_free:
      return cudaSuccess;
  }
  return cudaErrorUnknown;
}

}  // namespace

const char* name(Fault fault) {
  switch (fault) {
    case Fault::out_of_bounds:
      return "out of bounds";
    case Fault::use_after_free:
      return "use after free";
    case Fault::misaligned:
      return "misaligned";
    case Fault::divergent_barrier:
      return "divergent barrier";
    case Fault::divergent_collective:
      return "divergent collective";
    case Fault::race:
      return "race";
    case Fault::stack_overflow:
      return "stack overflow";
    case Fault::overrun:
      return "overrun";
    case Fault::device_limit:
      return "device limit";
    case Fault::bad_free:
      return "bad free";
  }
  return "fault";
}

void add_finding(Fault fault, std::string message) {
  std::fprintf(stderr, "emulator: %s: %s\n", name(fault), message.c_str());
  Runtime::instance().set_sticky_error(error_of(fault));
  findings().push_back({fault, std::move(message)});
}

bool has_findings() {
  return !findings().empty();
}

std::vector<Finding> take_findings() {
  Runtime::instance().forget_sticky_error();
  Runtime::last_error() = cudaSuccess;
  return std::exchange(findings(), {});
}

}  // namespace minidl::emulator

#pragma once
#include <functional>
#include <string>

namespace minidl::apps {

/// Exit codes of every program.
inline constexpr int kSuccess = 0, kFailure = 1, kWrongUsage = 2;

/// One line `error: ...` on standard error, whatever the text holds.
void print_error(std::string message);

/// Calls `body` and returns its exit code. An exception becomes one line `error: ...` on standard error, whatever its
/// text, and kWrongUsage for a UsageError, kFailure for every other. What was printed on standard output is flushed and
/// a failure to do so is an error, too.
///
///     int main(int argc, char** argv) { return apps::run_program([&] { return run(argc, argv); }); }
int run_program(const std::function<int()>& body);

}  // namespace minidl::apps

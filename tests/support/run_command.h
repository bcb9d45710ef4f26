#pragma once
#include <sys/wait.h>

#include <cstdio>
#include <string>

namespace minidl::test {

/// What a program printed (standard output and error together, in order) and its exit code.
struct CommandResult {
  int code = -1;
  std::string output;
};

/// Runs a line of shell with the folder of the built programs in front of PATH.
inline CommandResult run_command(const std::string& line) {
  CommandResult result;
  std::FILE* pipe = ::popen(("exec 2>&1; PATH=" MINIDL_BINARY_DIR "/bin:$PATH; " + line).c_str(), "r");
  if (!pipe) return result;
  char piece[4096];
  for (size_t count; (count = std::fread(piece, 1, sizeof piece, pipe)) > 0;) result.output.append(piece, count);
  const int status = ::pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace minidl::test

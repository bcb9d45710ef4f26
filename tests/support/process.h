#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <support/temporary_folder.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

namespace minidl::test {

/// A program of this build by name, e.g. "nst_gatys".
inline std::string program(const std::string& name) {
  return MINIDL_BINARY_DIR "/bin/" + name;
}

struct ProcessResult {
  int code = -1;  // exit code, or 128 + signal
  std::string output, errors;

  int error_lines() const { return static_cast<int>(std::count(errors.begin(), errors.end(), '\n')); }
};

struct ProcessOptions {
  rlim_t largest_file = RLIM_INFINITY;  // bytes; writing beyond fails as it does on a full disk
  rlim_t cpu_seconds = 120;
  std::string output_to = {};  // instead of catching standard output
  std::string input_from = {};  // file that is standard input; empty: that of the test
};

/// A program that runs; `wait` ends with it.
class Process {
 public:
  explicit Process(std::vector<std::string> command, const ProcessOptions& options = {}) {
    const std::string output = options.output_to.empty() ? (folder_ / "output").string() : options.output_to;
    const std::string errors = (folder_ / "errors").string();
    std::vector<char*> arguments;
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    captured_ = options.output_to.empty();
    id_ = ::fork();
    if (id_ != 0) return;
    // Only calls that are allowed between fork and exec.
    const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(out, STDOUT_FILENO);
    if (!options.input_from.empty()) ::dup2(::open(options.input_from.c_str(), O_RDONLY), STDIN_FILENO);
    ::dup2(err, STDERR_FILENO);
    ::signal(SIGXFSZ, SIG_IGN);  // write() reports the limit instead
    const rlimit file{options.largest_file, options.largest_file}, cpu{options.cpu_seconds, options.cpu_seconds};
    ::setrlimit(RLIMIT_FSIZE, &file);
    ::setrlimit(RLIMIT_CPU, &cpu);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { ::kill(id_, signal); }
  /// Threads that it has now.
  int threads() const {
    const std::string tasks = "/proc/" + std::to_string(id_) + "/task";
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(tasks), {}));
  }
  std::string errors_so_far() const { return read_bytes(folder_ / "errors"); }
  /// Returns when `words` have been written to standard error, or false when a minute has gone by.
  bool wait_for(const std::string& words) const {
    constexpr int kTries = 6000;
    for (int i = 0; i < kTries; ++i) {
      if (errors_so_far().find(words) != std::string::npos) return true;
      ::usleep(10'000);
    }
    return false;
  }
  ProcessResult wait() {
    int status = 0;
    if (::waitpid(id_, &status, 0) != id_) ADD_FAILURE() << "the process was lost";
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            .output = captured_ ? read_bytes(folder_ / "output") : std::string(),
            .errors = read_bytes(folder_ / "errors")};
  }

 private:
  TemporaryFolder folder_;
  pid_t id_ = -1;
  bool captured_ = true;
};

inline ProcessResult run_process(std::vector<std::string> command, const ProcessOptions& options = {}) {
  return Process(std::move(command), options).wait();
}

}  // namespace minidl::test

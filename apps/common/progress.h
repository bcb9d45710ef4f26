#pragma once
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace minidl::apps {

/// What a program's loop has reached.
struct ProgressSample {
  std::string stage = {};                 // what is worked on, e.g. "512x384"; may be empty
  int64_t iteration = 0, iterations = 0;  // done and planned, of the whole run
  std::optional<double> work_done = {};   // share of the whole work in [0, 1] when iterations differ in cost
  double loss = 0.0;
  std::vector<std::pair<std::string, double>> parts = {};  // of the loss, e.g. {"content", 12.5}
  int64_t peak_bytes = 0;                                  // peak memory; 0: not shown
  int64_t photos = 0;                                      // of one iteration; 0: their rate is not shown
  std::string details = {};                                // shown with --verbose
};

/// "512x384  iteration 20/500  loss 1.25e+06 (content 3.1e+05, style 9.4e+05)  4.2 it/s  ETA 1:54  peak 412 MiB". Rates
/// that are not known yet (0 or not finite) are left out.
std::string progress_text(const ProgressSample& sample, double iterations_per_second, double seconds_left);

/// "0:07", "12:30", "1:02:30".
std::string duration_text(double seconds);

/// Shows how far a long loop has come: one line that is rewritten on a terminal, otherwise a plain line every five
/// seconds and for the last iteration. Quiet: nothing. Verbose: a plain line with details for every iteration.
class ProgressLine {
 public:
  struct Options {
    bool quiet = false;
    bool verbose = false;
    std::FILE* stream = stderr;
    std::optional<bool> terminal = {};     // empty: asked from the stream
    std::function<double()> seconds = {};  // clock; empty: the steady one
  };

  explicit ProgressLine(Options options);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(const ProgressSample& sample);
  /// A line of its own, unless quiet: "saved out.png".
  void message(const std::string& text);
  /// Ends a line that would be rewritten, so that other output starts on a new one.
  void finish();

  /// Over the last ten seconds or the last iteration, whichever is longer; 0 before anything is known.
  double iterations_per_second() const;
  double seconds_left() const;

 private:
  struct Point {
    double time, iteration, work;
  };

  void print_line(const std::string& text);
  void rewrite_line(const std::string& text);

  Options options_;
  bool terminal_;
  std::deque<Point> recent_;
  double last_shown_;
  bool line_open_ = false;
};

}  // namespace minidl::apps

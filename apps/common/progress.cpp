#include <fmt/format.h>
#include <minidl/apps/common/flag_values.h>
#include <minidl/apps/common/progress.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace minidl::apps {
namespace {

constexpr double kRewriteSeconds = 0.1, kPlainSeconds = 5.0, kRateSeconds = 10.0;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Columns of the terminal behind `stream`; 80 when it does not say.
size_t columns_of(std::FILE* stream) {
  winsize size{};
  return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  const int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string progress_text(const ProgressSample& sample, double iterations_per_second, double seconds_left) {
  std::string text = sample.stage.empty() ? "" : sample.stage + "  ";
  text += fmt::format("iteration {}/{}  loss {:.4g}", sample.iteration, sample.iterations, sample.loss);
  std::string parts;
  for (const auto& [name, value] : sample.parts)
    parts += fmt::format("{}{} {:.3g}", parts.empty() ? "" : ", ", name, value);
  if (!parts.empty()) text += " (" + parts + ")";
  if (std::isfinite(iterations_per_second) && iterations_per_second > 0.0) {
    text += fmt::format("  {:.3g} it/s", iterations_per_second);
    if (sample.photos > 0)
      text += fmt::format("  {:.3g} img/s", iterations_per_second * static_cast<double>(sample.photos));
  }
  if (std::isfinite(seconds_left) && seconds_left > 0.0) text += "  ETA " + duration_text(seconds_left);
  if (sample.peak_bytes > 0) text += "  peak " + bytes_text(sample.peak_bytes);
  return text;
}

ProgressLine::ProgressLine(Options options)
    : options_(std::move(options)), last_shown_(-std::numeric_limits<double>::infinity()) {
  if (!options_.seconds) options_.seconds = steady_seconds;
  terminal_ = options_.terminal.value_or(isatty(fileno(options_.stream)) != 0);
}

ProgressLine::~ProgressLine() {
  finish();
}

double ProgressLine::iterations_per_second() const {
  if (recent_.size() < 2) return 0.0;
  return (recent_.back().iteration - recent_.front().iteration) / (recent_.back().time - recent_.front().time);
}

double ProgressLine::seconds_left() const {
  if (recent_.size() < 2) return 0.0;
  const double rate = (recent_.back().work - recent_.front().work) / (recent_.back().time - recent_.front().time);
  return (1.0 - recent_.back().work) / rate;
}

void ProgressLine::update(const ProgressSample& sample) {
  if (options_.quiet) return;
  const double now = options_.seconds();
  const double share =
      static_cast<double>(sample.iteration) / static_cast<double>(std::max<int64_t>(sample.iterations, 1));
  recent_.push_back({now, static_cast<double>(sample.iteration), sample.work_done.value_or(share)});
  while (recent_.size() > 2 && recent_[1].time <= now - kRateSeconds) recent_.pop_front();

  const bool is_last = sample.iteration >= sample.iterations;
  const double pause = options_.verbose ? 0.0 : terminal_ ? kRewriteSeconds : kPlainSeconds;
  if (!is_last && now - last_shown_ < pause) return;
  last_shown_ = now;
  const std::string text = progress_text(sample, iterations_per_second(), is_last ? 0.0 : seconds_left());
  if (options_.verbose) {
    print_line(sample.details.empty() ? text : text + "  " + sample.details);
  } else if (terminal_) {
    rewrite_line(text);
  } else {
    print_line(text);
  }
}

void ProgressLine::message(const std::string& text) {
  if (!options_.quiet) print_line(text);
}

void ProgressLine::print_line(const std::string& text) {
  finish();
  fmt::print(options_.stream, "{}\n", text);
  std::fflush(options_.stream);
}

void ProgressLine::rewrite_line(const std::string& text) {
  const std::string shown = text.substr(0, columns_of(options_.stream) - 1);  // a wrapped line could not be rewritten
  fmt::print(options_.stream, "\r{}\033[K", shown);
  std::fflush(options_.stream);
  line_open_ = true;
}

void ProgressLine::finish() {
  if (!line_open_) return;
  std::fputc('\n', options_.stream);
  std::fflush(options_.stream);
  line_open_ = false;
}

}  // namespace minidl::apps

#include <minidl/core/profile.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

namespace minidl {
namespace {

std::atomic<bool> is_enabled{false};
std::mutex mutex;
std::map<std::string, Profile::Row> table_of_rows;

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

void Profile::enable(bool on) {
  is_enabled = on;
}
bool Profile::enabled() {
  return is_enabled;
}

void Profile::clear() {
  const std::scoped_lock lock(mutex);
  table_of_rows.clear();
}

std::vector<Profile::Row> Profile::rows() {
  std::vector<Row> rows;
  {
    const std::scoped_lock lock(mutex);
    for (const auto& [name, row] : table_of_rows) rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.seconds > b.seconds; });
  return rows;
}

std::string Profile::table() {
  const std::vector<Row> all = rows();
  std::string text = fmt::format("{:<36}{:>9}{:>12}{:>10}\n", "range", "calls", "seconds", "of first");
  const double longest = all.empty() || all.front().seconds == 0 ? 1 : all.front().seconds;
  for (const Row& row : all) {
    text +=
        fmt::format("{:<36}{:>9}{:>12.4f}{:>9.1f}%\n", row.name, row.calls, row.seconds, 100.0 * row.seconds / longest);
  }
  return text;
}

ProfileRange::ProfileRange(const char* name, const char* suffix) : name_(name), suffix_(suffix) {
  if (is_enabled) start_ = now();
}

ProfileRange::~ProfileRange() {
  if (start_ < 0) return;
  const double seconds = static_cast<double>(now() - start_) * 1e-9;
  const std::scoped_lock lock(mutex);
  std::string name = suffix_ ? fmt::format("{} {}", name_, suffix_) : name_;
  Profile::Row& row = table_of_rows[name];
  row.name = std::move(name);
  ++row.calls;
  row.seconds += seconds;
}

}  // namespace minidl

#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace minidl {

/// Wall-clock time by named range, for all threads together. Off by default; a range costs one atomic read then.
class Profile {
 public:
  struct Row {
    std::string name;
    int64_t calls = 0;
    double seconds = 0;  // inclusive of nested ranges
  };

  static void enable(bool on);
  static bool enabled();
  static void clear();
  /// Longest first.
  static std::vector<Row> rows();
  /// A table for people: name, calls, seconds, share of the longest row.
  static std::string table();
};

/// Times its own scope under "name" or "name suffix".
class ProfileRange {
 public:
  explicit ProfileRange(const char* name, const char* suffix = nullptr);
  ~ProfileRange();
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;

 private:
  const char* name_;
  const char* suffix_;
  int64_t start_ = -1;  // steady clock, nanoseconds; -1 when profiling is off
};

}  // namespace minidl

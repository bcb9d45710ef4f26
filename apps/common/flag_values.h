#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace minidl::apps {

/// Strict readers of flag values: the whole text must be the value. They throw Error with what is accepted ("must be a
/// whole number from 0 to 100"), without the flag's name, which the caller knows.

/// Bounds of a number; both belong to it unless `above_minimum`.
struct NumberRange {
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool above_minimum = false;

  static NumberRange at_least(double minimum) { return {.minimum = minimum}; }
  static NumberRange positive() { return {.minimum = 0.0, .above_minimum = true}; }
};

/// Decimal digits with an optional minus sign: neither "1e9" nor "1.0".
int64_t parse_integer(std::string_view text, int64_t minimum, int64_t maximum);
/// Decimal or scientific; finite.
double parse_number(std::string_view text, const NumberRange& range);
/// Bytes: a positive number with an optional unit K, M, G or T (1024-based; "KB" and "KiB" mean the same): "800M",
/// "1.5G".
int64_t parse_bytes(std::string_view text);

/// The shortest text that reads back as the same number: "0.2", "1000", "1e-06".
std::string number_text(double value);
/// "1.5 GiB", "312 MiB", "12 KiB".
std::string bytes_text(int64_t bytes);

}  // namespace minidl::apps

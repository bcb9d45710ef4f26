#include <fmt/format.h>
#include <minidl/apps/common/flag_values.h>
#include <minidl/core/error.h>

#include <charconv>
#include <cmath>

namespace minidl::apps {
namespace {

/// True when all of `text` is one number of the type of `value`.
template <typename T>
bool read_all(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string describe(const NumberRange& range) {
  const bool has_minimum = std::isfinite(range.minimum), has_maximum = std::isfinite(range.maximum);
  std::string words = "must be a number";
  if (range.above_minimum) {
    words += " greater than " + number_text(range.minimum);
    if (has_maximum) words += " and at most " + number_text(range.maximum);
  } else if (has_minimum && has_maximum) {
    words += " from " + number_text(range.minimum) + " to " + number_text(range.maximum);
  } else if (has_minimum) {
    words += " of at least " + number_text(range.minimum);
  }
  return words;
}

}  // namespace

int64_t parse_integer(std::string_view text, int64_t minimum, int64_t maximum) {
  int64_t value = 0;
  if (read_all(text, value) && value >= minimum && value <= maximum) return value;
  if (maximum == std::numeric_limits<int64_t>::max()) fail("must be a whole number of at least {}", minimum);
  fail("must be a whole number from {} to {}", minimum, maximum);
}

double parse_number(std::string_view text, const NumberRange& range) {
  double value = 0.0;
  const bool accepted = read_all(text, value) && std::isfinite(value) && value <= range.maximum &&
                        (range.above_minimum ? value > range.minimum : value >= range.minimum);
  MINIDL_CHECK(accepted, "{}", describe(range));
  return value;
}

int64_t parse_bytes(std::string_view text) {
  static constexpr std::string_view kUnits = "KMGT";
  std::string_view digits = text;
  double factor = 1.0;
  for (const std::string_view suffix : {"iB", "B"}) {
    if (digits.ends_with(suffix)) {
      digits.remove_suffix(suffix.size());
      break;
    }
  }
  if (const size_t unit = digits.empty() ? kUnits.npos : kUnits.find(digits.back()); unit != kUnits.npos) {
    factor = std::ldexp(1.0, 10 * (static_cast<int>(unit) + 1));
    digits.remove_suffix(1);
  }
  double value = 0.0;
  const bool accepted = read_all(digits, value) && value * factor >= 1.0 && value * factor < 0x1p62;
  MINIDL_CHECK(accepted, "must be a size such as 800M or 1.5G (units K, M, G, T)");
  return static_cast<int64_t>(value * factor);
}

std::string number_text(double value) {
  return fmt::format("{}", value);
}

std::string bytes_text(int64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", value, unit >= 3 ? 2 : 0, kUnits[unit]);
}

}  // namespace minidl::apps

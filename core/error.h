#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace minidl {

/// The one exception type of the library. The message names the operation or file, what disagrees (both shapes, or the field and its
/// value) and what to do: `[conv2d] weight expects 64 input channels, input has 3 (input [1,512,512,3], weight [64,3,3,64])`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

namespace detail {
inline std::string text(std::string_view value) { return std::string(value); }
std::string text(double value);
std::string text(long long value);
std::string text(unsigned long long value);
template <typename T>
std::string text(const T& value) {
  if constexpr (requires { value.str(); }) {
    return value.str();
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return std::string(std::string_view(value));
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_floating_point_v<T>) {
    return text(static_cast<double>(value));
  } else if constexpr (std::is_unsigned_v<T>) {
    return text(static_cast<unsigned long long>(value));
  } else {
    return text(static_cast<long long>(value));
  }
}
/// Replaces each `{}` of `format` by the next value.
std::string format_message(std::string_view format, std::initializer_list<std::string> values);
}  // namespace detail

/// Throws Error; each `{}` in `format` is replaced by the next value (numbers, strings, bools, and whatever has `str()`).
template <typename... Values>
[[noreturn]] void fail(std::string_view format, const Values&... values) {
  throw Error(detail::format_message(format, {detail::text(values)...}));
}

}  // namespace minidl

/// MINIDL_CHECK(condition, "[op] message with {}", values...) throws minidl::Error when the condition does not hold.
#define MINIDL_CHECK(condition, ...) \
  do {                               \
    if (!(condition)) [[unlikely]]   \
      ::minidl::fail(__VA_ARGS__);   \
  } while (false)

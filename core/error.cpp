#include <minidl/core/error.h>

#include <fmt/format.h>

namespace minidl::detail {

std::string text(double value) { return fmt::format("{}", value); }
std::string text(long long value) { return fmt::format("{}", value); }
std::string text(unsigned long long value) { return fmt::format("{}", value); }

std::string format_message(std::string_view format, std::initializer_list<std::string> values) {
  std::string message;
  auto value = values.begin();
  for (size_t i = 0; i < format.size(); ++i) {
    const bool here = format.compare(i, 2, "{}") == 0 && value != values.end();
    if (!here) {
      message += format[i];
      continue;
    }
    message += *value++;
    ++i;
  }
  return message;
}

}  // namespace minidl::detail

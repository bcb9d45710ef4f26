#include <emulator/options.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace minidl::emulator {
namespace {

[[noreturn]] void refuse(const char* variable, std::string_view value, const char* choices) {
  std::fprintf(stderr, "emulator: %s is '%.*s': expected %s\n", variable, static_cast<int>(value.size()), value.data(),
               choices);
  std::exit(2);
}

/// "random" or "random:SEED", which is kept in options.
bool is_random(std::string_view value, Options& options) {
  constexpr std::string_view kRandom = "random";
  if (!value.starts_with(kRandom)) return false;
  value.remove_prefix(kRandom.size());
  if (value.empty()) return true;
  if (value.front() != ':') return false;
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data() + 1, end, options.seed);
  return error == std::errc{} && stop == end;
}

}  // namespace

Options options_from(const char* schedule, const char* copies) {
  Options options;
  if (const std::string_view value = schedule ? schedule : "forward"; is_random(value, options)) {
    options.schedule = Schedule::random;
  } else if (value == "reverse") {
    options.schedule = Schedule::reverse;
  } else if (value != "forward") {
    refuse("MINIDL_EMULATOR_SCHEDULE", value, "forward, reverse, random or random:SEED, where SEED is a number");
  }
  if (const std::string_view value = copies ? copies : "late"; value == "random") {
    options.copies = Completion::random;
  } else if (value == "early") {
    options.copies = Completion::early;
  } else if (value != "late") {
    refuse("MINIDL_EMULATOR_COPIES", value, "late, early or random");
  }
  return options;
}

Options& options() {
  static Options instance =
      options_from(std::getenv("MINIDL_EMULATOR_SCHEDULE"), std::getenv("MINIDL_EMULATOR_COPIES"));
  return instance;
}

namespace {
[[maybe_unused]] const Options& read_at_start = options();  // a wrong word ends the program before it does anything
}

}  // namespace minidl::emulator

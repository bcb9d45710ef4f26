#pragma once
#include <fmt/format.h>
#include <minidl/apps/common/flag_values.h>
#include <minidl/core/error.h>

#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace minidl::apps {

/// Wrong usage of a program: it ends with code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// The command line of one program. Every flag is declared with the variable that it fills, whose value at that moment
/// is the default shown by --help; an std::optional stays empty unless the flag is given. --help and --version are
/// always there.
///
///     Flags flags({.program = "nst_gatys", .summary = "...", .example = "nst_gatys --content ..."});
///     flags.group("Pictures").text("--content", content, "FILE", "photo to paint over").required();
///     flags.integer("--size", size, 0, 16384, "longer side in pixels; 0: nothing is resized");
///     if (!flags.parse(argc, argv)) return 0;
///
/// Names are given as "--output,-o": the first one is the one used in messages. A single-valued flag given twice takes
/// the last value.
class Flags {
 public:
  struct About {
    std::string program, summary, example;
  };
  using Assign = std::function<void(const std::string& value)>;

  explicit Flags(About about);

  /// Heading of the flags declared from here on.
  Flags& group(std::string heading);
  /// The flag declared last must be given.
  Flags& required();
  /// The flag declared last may be given several times, and each value is assigned.
  Flags& repeatable();

  /// True when given.
  Flags& toggle(const std::string& names, bool& value, const std::string& help);
  /// A value in whatever form: `assign` gets the text and throws Error with what is accepted.
  Flags& value(const std::string& names, const std::string& placeholder, const std::string& help,
               const std::string& default_text, Assign assign);
  Flags& text(const std::string& names, std::string& value, const std::string& placeholder, const std::string& help);
  /// May stand without a value: `given` says that it is there at all.
  Flags& optional_text(const std::string& names, bool& given, std::string& value, const std::string& placeholder,
                       const std::string& help);
  /// May be given several times.
  Flags& texts(const std::string& names, std::vector<std::string>& values, const std::string& placeholder,
               const std::string& help);
  /// An argument without a flag; the last one declared may take all that are left.
  Flags& positional(const std::string& placeholder, std::string& value, const std::string& help);
  Flags& positionals(const std::string& placeholder, std::vector<std::string>& values, const std::string& help);

  /// A whole number in [minimum, maximum]; T is an integer or an optional one.
  template <typename T>
  Flags& integer(const std::string& names, T& value, int64_t minimum, int64_t maximum, const std::string& help) {
    return this->value(names, "N", help, default_of(value), [&value, minimum, maximum](const std::string& text) {
      value = static_cast<Plain<T>>(parse_integer(text, minimum, maximum));
    });
  }
  /// T is float, double or an optional one.
  template <typename T>
  Flags& number(const std::string& names, T& value, NumberRange range, const std::string& help) {
    return this->value(names, "X", help, default_of(value), [&value, range](const std::string& text) {
      value = static_cast<Plain<T>>(parse_number(text, range));
    });
  }
  /// One of some words, each standing for a value; T is the type of the values or an optional of it.
  template <typename T, typename Value>
  Flags& choice(const std::string& names, T& value, std::vector<std::pair<std::string, Value>> words,
                const std::string& help) {
    std::string placeholder, default_text;
    for (const auto& [word, meaning] : words) {
      placeholder += (placeholder.empty() ? "" : "|") + word;
      if (value == meaning) default_text = word;
    }
    return this->value(names, placeholder, help, default_text,
                       [&value, words = std::move(words), placeholder](const std::string& text) {
                         for (const auto& [word, meaning] : words) {
                           if (word != text) continue;
                           value = meaning;
                           return;
                         }
                         fail("must be one of {}", placeholder);
                       });
  }

  /// Fills the variables. False when --help or --version was asked for and has been printed: nothing is left to do.
  /// Throws UsageError with one line that names the flag: unknown (with the nearest one), without its value, bad value
  /// (with what is accepted), missing.
  bool parse(int argc, const char* const* argv);
  /// What --help prints.
  std::string help() const;

 private:
  enum class Kind { toggle, value, optional, repeated, positional, positionals };
  struct Entry {
    Kind kind = Kind::value;
    std::vector<std::string> names = {};  // a positional one has its placeholder here, too
    std::string placeholder = {}, help = {}, default_text = {}, heading = {};
    Assign assign = {};
    bool is_required = false;

    std::string usage() const;
  };
  template <typename T>
  struct PlainOf {
    using type = T;
  };
  template <typename T>
  struct PlainOf<std::optional<T>> {
    using type = T;
  };
  template <typename T>
  using Plain = typename PlainOf<T>::type;

  template <typename T>
  static std::string default_of(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      return fmt::format("{}", value);
    } else {
      return value ? fmt::format("{}", *value) : std::string();
    }
  }

  Flags& add(Entry entry);
  void assign_values(const Entry& entry, const std::vector<std::string>& values) const;
  [[noreturn]] void fail_unknown(const std::vector<std::string>& leftovers) const;
  bool is_flag(const std::string& word) const;

  About about_;
  std::string heading_ = "Flags";
  std::vector<Entry> entries_;
};

}  // namespace minidl::apps

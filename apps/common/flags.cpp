#include <minidl/apps/common/flags.h>
#include <minidl/core/nearest.h>
#include <minidl/version.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <sstream>

namespace minidl::apps {
namespace {

constexpr size_t kHelpColumn = 30, kHelpWidth = 110;
constexpr int kManyArguments = 1 << 20;  // CLI11 does not insist on them; its unbounded kind would take "[x]" apart

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// "  usage      words, broken at spaces and indented to their column".
std::string help_lines(const std::string& usage, const std::string& words) {
  std::string lines = "  " + usage;
  lines += lines.size() + 2 > kHelpColumn ? "\n" + std::string(kHelpColumn, ' ')
                                          : std::string(kHelpColumn - lines.size(), ' ');
  size_t column = kHelpColumn;
  for (const std::string& word : split(words, ' ')) {
    if (column > kHelpColumn && column + 1 + word.size() > kHelpWidth) {
      lines += "\n" + std::string(kHelpColumn, ' ');
      column = kHelpColumn;
    }
    if (column > kHelpColumn) {
      lines += ' ';
      ++column;
    }
    lines += word;
    column += word.size();
  }
  return lines + "\n";
}

}  // namespace

Flags::Flags(About about) : about_(std::move(about)) {}

std::string Flags::Entry::usage() const {
  if (kind == Kind::positional) return placeholder;
  if (kind == Kind::positionals) return placeholder + "...";
  // The short name stands first, as everywhere.
  std::vector<std::string> ordered = names;
  std::stable_sort(ordered.begin(), ordered.end(), [](const std::string& a, const std::string& b) {
    return !a.starts_with("--") && b.starts_with("--");
  });
  std::string usage;
  for (const std::string& name : ordered) usage += (usage.empty() ? "" : ", ") + name;
  if (kind == Kind::optional) return usage + " [" + placeholder + "]";
  return kind == Kind::toggle ? usage : usage + " " + placeholder;
}

Flags& Flags::add(Entry entry) {
  entry.heading = heading_;
  entries_.push_back(std::move(entry));
  return *this;
}

Flags& Flags::group(std::string heading) {
  heading_ = std::move(heading);
  return *this;
}

Flags& Flags::required() {
  entries_.back().is_required = true;
  return *this;
}

Flags& Flags::repeatable() {
  entries_.back().kind = Kind::repeated;
  return *this;
}

Flags& Flags::toggle(const std::string& names, bool& value, const std::string& help) {
  return add({.kind = Kind::toggle, .names = split(names, ','), .help = help, .assign = [&value](const std::string&) {
                value = true;
              }});
}

Flags& Flags::value(const std::string& names, const std::string& placeholder, const std::string& help,
                    const std::string& default_text, Assign assign) {
  return add({.kind = Kind::value,
              .names = split(names, ','),
              .placeholder = placeholder,
              .help = help,
              .default_text = default_text,
              .assign = std::move(assign)});
}

Flags& Flags::text(const std::string& names, std::string& value, const std::string& placeholder,
                   const std::string& help) {
  return this->value(names, placeholder, help, value, [&value](const std::string& text) { value = text; });
}

Flags& Flags::optional_text(const std::string& names, bool& given, std::string& value, const std::string& placeholder,
                            const std::string& help) {
  this->value(names, placeholder, help, {}, [&](const std::string& text) {
    given = true;
    value = text;
  });
  entries_.back().kind = Kind::optional;
  return *this;
}

Flags& Flags::texts(const std::string& names, std::vector<std::string>& values, const std::string& placeholder,
                    const std::string& help) {
  value(names, placeholder, help, {}, [&values](const std::string& text) { values.push_back(text); });
  return repeatable();
}

Flags& Flags::positional(const std::string& placeholder, std::string& value, const std::string& help) {
  text(placeholder, value, placeholder, help);
  entries_.back().kind = Kind::positional;
  return *this;
}

Flags& Flags::positionals(const std::string& placeholder, std::vector<std::string>& values, const std::string& help) {
  texts(placeholder, values, placeholder, help);
  entries_.back().kind = Kind::positionals;
  return *this;
}

bool Flags::is_flag(const std::string& word) const {
  return word.starts_with('-') && std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
           return std::find(entry.names.begin(), entry.names.end(), word) != entry.names.end();
         });
}

void Flags::assign_values(const Entry& entry, const std::vector<std::string>& values) const {
  const bool takes_all = entry.kind == Kind::repeated || entry.kind == Kind::positionals;
  const std::string& name = entry.names.front();
  for (size_t i = takes_all ? 0 : values.size() - 1; i < values.size(); ++i) {
    const std::string& text = values[i];
    if (entry.kind == Kind::toggle) {
      if (text != "true") throw UsageError(fmt::format("{} takes no value, {} was given", name, text));
    } else if ((text.empty() && entry.kind != Kind::optional) || is_flag(text)) {
      throw UsageError(fmt::format("{} needs a value {}{}", name, entry.placeholder,
                                   text.empty() ? "" : ", but " + text + " follows"));
    }
    try {
      entry.assign(text);
    } catch (const Error& error) {
      throw UsageError(fmt::format("{} {}: {}", name, text, error.what()));
    }
  }
}

void Flags::fail_unknown(const std::vector<std::string>& leftovers) const {
  const auto flag = std::find_if(leftovers.begin(), leftovers.end(),
                                 [](const std::string& word) { return word.size() > 1 && word[0] == '-'; });
  if (flag == leftovers.end()) {
    throw UsageError(fmt::format("unexpected argument {} (see {} --help)", leftovers.front(), about_.program));
  }
  std::vector<std::string> names;
  for (const Entry& entry : entries_) names.insert(names.end(), entry.names.begin(), entry.names.end());
  const std::string given = flag->substr(0, flag->find('='));
  const std::string nearest = nearest_name(given, names);
  throw UsageError(fmt::format("unknown flag {}{} (see {} --help)", given,
                               nearest.empty() ? "" : "; did you mean " + nearest + "?", about_.program));
}

bool Flags::parse(int argc, const char* const* argv) {
  group("Other");
  add({.kind = Kind::toggle, .names = {"--help", "-h"}, .help = "print this and stop"});
  add({.kind = Kind::toggle, .names = {"--version"}, .help = "print the version and stop"});
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::vector<CLI::Option*> options;
  for (const Entry& entry : entries_) {
    const std::string names = fmt::format("{}", fmt::join(entry.names, ","));
    if (entry.kind == Kind::toggle) {
      options.push_back(app.add_flag(names));
    } else if (entry.kind == Kind::optional) {
      options.push_back(app.add_option(names)->expected(0, 1));
    } else {
      options.push_back(app.add_option(names)->expected(entry.kind == Kind::positionals ? kManyArguments : 1));
    }
    options.back()->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ArgumentMismatch&) {
    throw UsageError(fmt::format("{} needs a value", argv[argc - 1]));
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  const bool show_help = options[options.size() - 2]->count() > 0, show_version = options.back()->count() > 0;
  if (show_help || show_version) {
    std::fputs((show_help ? help() : about_.program + " " MINIDL_VERSION "\n").c_str(), stdout);
    return false;
  }
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (options[i]->count() > 0) assign_values(entries_[i], options[i]->results());
  }
  std::vector<std::string> leftovers = app.remaining();
  std::erase(leftovers, "--");  // CLI11 keeps the mark that ends the flags
  if (!leftovers.empty()) fail_unknown(leftovers);
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (!entry.is_required || options[i]->count() > 0) continue;
    throw UsageError(fmt::format("{} is missing: {} (see {} --help)", entry.usage(), entry.help, about_.program));
  }
  return true;
}

std::string Flags::help() const {
  std::string usage = "Usage: " + about_.program, body, heading;
  for (const Entry& entry : entries_) {
    const bool is_positional = entry.kind == Kind::positional || entry.kind == Kind::positionals;
    if (entry.is_required) {
      usage += " " + entry.usage();
    } else if (is_positional) {
      usage += " [" + entry.usage() + "]";
    }
    if (entry.heading != heading) body += "\n" + entry.heading + "\n";
    heading = entry.heading;
    std::string words = entry.help;
    if (entry.kind == Kind::repeated) words += " (repeatable)";
    if (!entry.default_text.empty()) words += " (default: " + entry.default_text + ")";
    body += help_lines(entry.usage(), words);
  }
  return about_.program + ": " + about_.summary + "\n" + usage + " [flags]\n" + body + "\nExample\n  " +
         about_.example + "\n";
}

}  // namespace minidl::apps

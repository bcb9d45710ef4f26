#pragma once
#include <span>
#include <string>
#include <string_view>

namespace minidl {

/// Number of single-character insertions, deletions and replacements that turn `a` into `b` (Levenshtein 1966).
int edit_distance(std::string_view a, std::string_view b);

/// The candidate that `word` was probably meant to be, for error messages: the first of the smallest edit distance, or
/// an empty string when even that one differs in more than a third of the letters (always allowed: 2).
std::string nearest_name(std::string_view word, std::span<const std::string> candidates);

}  // namespace minidl

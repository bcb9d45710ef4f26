#pragma once
// In sources that hold mutants (mutate.py): which one is in place. Included before everything else.
#include <type_traits>

namespace mutation {

constexpr int kMostSites = 1 << 14;

extern int chosen_site;  // 0: none
extern int mutant;
extern unsigned char reached[kMostSites];

/// Whether the chosen mutant is at this place of the source.
inline bool at(int site) {
  reached[site] = 1;
  return site == chosen_site;
}

/// What an expression of type T, which may be void, is cast to: arrays stay where they are.
template <typename T, typename Plain = std::remove_reference_t<T>>
using Type = std::conditional_t<std::is_array_v<Plain>, std::add_lvalue_reference_t<Plain>, std::remove_cv_t<Plain>>;

}  // namespace mutation

#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace minidl::apps {

/// A style of the net and its share of the mix.
struct StyleShare {
  int64_t style;
  double share;
};
/// "2", or a list with shares: "0:0.7,2:0.3", which need not add up to 1. Throws Error with what is accepted.
std::vector<StyleShare> parse_style_mix(const std::string& text);
/// The same as a share for each of `styles` styles, adding up to 1. Throws Error for a style that there is not.
std::vector<float> shares_of(const std::vector<StyleShare>& mix, int64_t styles);

}  // namespace minidl::apps

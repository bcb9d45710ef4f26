#include <fmt/format.h>
#include <minidl/apps/common/flag_values.h>
#include <minidl/apps/common/style_mix.h>
#include <minidl/core/error.h>

#include <algorithm>

namespace minidl::apps {

std::vector<StyleShare> parse_style_mix(const std::string& text) {
  constexpr int64_t kMostStyles = 10000;  // of a transform net
  std::vector<StyleShare> mix;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    const size_t colon = item.find(':');
    if (item.empty() || colon == 0) fail("must be a style, or styles with shares like 0:0.7,2:0.3");
    const StyleShare share{
        parse_integer(item.substr(0, colon), 0, kMostStyles - 1),
        colon == std::string::npos ? 1.0 : parse_number(item.substr(colon + 1), NumberRange::positive())};
    const auto same = [&](const StyleShare& other) { return other.style == share.style; };
    if (std::any_of(mix.begin(), mix.end(), same)) fail("names style {} twice", share.style);
    mix.push_back(share);
    begin = end + 1;
  }
  return mix;
}

std::vector<float> shares_of(const std::vector<StyleShare>& mix, int64_t styles) {
  std::vector<float> shares(static_cast<size_t>(styles));
  double sum = 0.0;
  for (const StyleShare& share : mix) sum += share.share;
  for (const auto& [style, share] : mix) {
    MINIDL_CHECK(style < styles, "--style-index {}: the model has {}", style,
                 styles == 1 ? "one style, number 0" : fmt::format("{} styles, 0 to {}", styles, styles - 1));
    shares[static_cast<size_t>(style)] = static_cast<float>(share / sum);
  }
  return shares;
}

}  // namespace minidl::apps

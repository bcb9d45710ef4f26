#include <minidl/apps/common/flag_values.h>
#include <minidl/apps/common/layer_list.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace minidl::apps {
namespace {

layers::WeightedLayer parse_layer(std::string_view item, double default_weight) {
  const size_t colon = item.find(':');
  layers::WeightedLayer layer{.name = std::string(item.substr(0, colon)), .weight = default_weight};
  MINIDL_CHECK(!layer.name.empty(), "must be layers with optional weights such as relu1_1:0.2,relu2_1:0.2");
  if (colon == item.npos) return layer;
  try {
    layer.weight = parse_number(item.substr(colon + 1), NumberRange::at_least(0.0));
  } catch (const Error& error) {
    fail("the weight of {} {}", layer.name, error.what());
  }
  return layer;
}

bool is_number(std::string_view text) {
  double value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error != std::errc::invalid_argument && end == text.data() + text.size();
}

}  // namespace

std::vector<layers::WeightedLayer> parse_layer_list(std::string_view text, std::optional<double> default_weight) {
  const auto count = 1 + std::count(text.begin(), text.end(), ',');
  const double weight = default_weight.value_or(1.0 / static_cast<double>(count));
  std::vector<layers::WeightedLayer> layers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    layers.push_back(parse_layer(text.substr(begin, end - begin), weight));
    for (size_t i = 0; i + 1 < layers.size(); ++i) {
      MINIDL_CHECK(layers[i].name != layers.back().name, "{} is named twice", layers.back().name);
    }
    begin = end + 1;
  }
  return layers;
}

std::string layer_list_text(const std::vector<layers::WeightedLayer>& layers) {
  std::string text;
  for (const layers::WeightedLayer& layer : layers) {
    text += (text.empty() ? "" : ",") + layer.name + ":" + number_text(layer.weight);
  }
  return text;
}

WeightedFile parse_weighted_file(const std::string& text) {
  const size_t colon = text.rfind(':');
  std::error_code ignored;
  if (colon == text.npos || !is_number(std::string_view(text).substr(colon + 1)) ||
      std::filesystem::exists(text, ignored)) {
    MINIDL_CHECK(!text.empty(), "must be the name of a file");
    return {.path = text};
  }
  MINIDL_CHECK(colon > 0, "must be the name of a file, then perhaps : and a weight");
  try {
    return {.path = text.substr(0, colon), .weight = parse_number(text.substr(colon + 1), NumberRange::positive())};
  } catch (const Error& error) {
    fail("the weight {}", error.what());
  }
}

}  // namespace minidl::apps

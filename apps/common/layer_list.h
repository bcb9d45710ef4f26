#pragma once
#include <minidl/layers/style_loss.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace minidl::apps {

/// Reads "relu1_1:0.2,relu2_1:0.2". Weights are finite and not negative. A layer without one gets `default_weight`, or
/// 1 / (number of layers) when that is empty. Throws Error for an empty list, an empty name, a bad weight or a layer
/// named twice.
std::vector<layers::WeightedLayer> parse_layer_list(std::string_view text, std::optional<double> default_weight = {});

/// The reverse: the text that reads back as `layers`.
std::string layer_list_text(const std::vector<layers::WeightedLayer>& layers);

/// A file and the weight of what it holds.
struct WeightedFile {
  std::string path;
  double weight = 1.0;
  friend bool operator==(const WeightedFile&, const WeightedFile&) = default;
};

/// Reads FILE[:WEIGHT]. A name may hold colons: what follows the last one is the weight only when it is a number in
/// full and no file has the whole text as its name. Throws Error for an empty name and for a weight that is not
/// positive.
WeightedFile parse_weighted_file(const std::string& text);

}  // namespace minidl::apps

#include <minidl/core/error.h>
#include <minidl/layers/codec/mat_file.h>
#include <minidl/layers/codec/matconvnet.h>
#include <minidl/layers/codec/matconvnet_cell.h>
#include <minidl/layers/codec/network_checks.h>

#include <algorithm>
#include <cmath>

namespace minidl::layers {
namespace {

using detail::MatArray;
using detail::MatClass;
using detail::MatFile;
using Kind = LayerDescription::Kind;

constexpr std::string_view kWanted[] = {"layers", "meta", "classes", "normalization"};

/// `name` inside the variable `meta` (today's files), else the variable of that name (old ones); or nullptr.
const MatArray* find_meta(const MatFile& file, std::string_view name) {
  const MatArray* meta = file.variable("meta");
  const MatArray* found = meta ? meta->field(name) : nullptr;
  return found ? found : file.variable(name);
}

/// Mean of each third of the array's numbers: 1 x 1 x 3, or a picture height x width x 3.
std::array<float, 3> read_mean(MatFile& file, const MatArray& image) {
  MINIDL_CHECK(image.is_number() && image.count() >= 3 && image.count() % 3 == 0,
               "[matconvnet] '{}': {} is {}, expected numbers 1 x 1 x 3 or height x width x 3", file.path().string(),
               image.path, image.str());
  const int64_t pixels = image.count() / 3;
  std::array<float, 3> mean;
  std::vector<float> piece(static_cast<size_t>(std::min<int64_t>(pixels, 4096)));
  for (int channel = 0; channel < 3; ++channel) {
    double sum = 0.0;
    for (int64_t done = 0; done < pixels; done += std::ssize(piece)) {
      const auto count = static_cast<size_t>(std::min<int64_t>(pixels - done, std::ssize(piece)));
      file.read(image, channel * pixels + done, std::span(piece).first(count));
      for (const float value : std::span(piece).first(count)) sum += value;
    }
    mean[channel] = static_cast<float>(sum / static_cast<double>(pixels));
    MINIDL_CHECK(std::isfinite(mean[channel]), "[matconvnet] '{}': {} has a value that is not finite",
                 file.path().string(), image.path);
  }
  return mean;
}

/// The mean colour of the file. A file without any description of itself gets VGG's, which `source` then says.
void read_mean_colour(MatFile& file, NetworkDescription& network) {
  const MatArray* normalization = find_meta(file, "normalization");
  const MatArray* image = normalization ? normalization->field("averageImage") : nullptr;
  if (!image && !normalization && !file.variable("meta")) {
    network.source += " (without a mean colour: VGG's is used)";
    return;
  }
  MINIDL_CHECK(image, "[matconvnet] '{}' has no meta.normalization.averageImage (the mean colour taken off pictures)",
               network.source);
  network.mean = read_mean(file, *image);
}

std::vector<std::string> read_class_names(const MatFile& file) {
  const MatArray* classes = find_meta(file, "classes");
  const MatArray* descriptions = classes ? classes->field("description") : nullptr;
  std::vector<std::string> names;
  if (!descriptions || descriptions->type != MatClass::cell) return names;
  for (const MatArray& description : descriptions->children) names.push_back(description.text);
  return names;
}

/// Pieces of whole channels, reordered into [out, kh, kw, in].
Tensor read_filters(MatFile& file, const MatArray& filters, const LayerDescription& layer) {
  constexpr int64_t kPieceNumbers = 16 << 10;
  Tensor weight = Tensor::empty({layer.out_c, layer.k_h, layer.k_w, layer.in_c});
  float* output = weight.data<float>();
  const int64_t window = layer.k_h * layer.k_w;
  const int64_t channels = std::clamp<int64_t>(kPieceNumbers / window, 1, layer.in_c);
  std::vector<float> piece(static_cast<size_t>(channels * window));
  for (int64_t k = 0; k < layer.out_c; ++k) {
    for (int64_t first = 0; first < layer.in_c; first += channels) {
      const int64_t count = std::min(channels, layer.in_c - first);
      file.read(filters, (k * layer.in_c + first) * window, {piece.data(), static_cast<size_t>(count * window)});
      for (int64_t h = 0; h < layer.k_h; ++h) {
        for (int64_t w = 0; w < layer.k_w; ++w) {
          float* pixel = output + ((k * layer.k_h + h) * layer.k_w + w) * layer.in_c + first;
          for (int64_t c = 0; c < count; ++c) pixel[c] = piece[c * window + w * layer.k_h + h];
        }
      }
    }
  }
  return weight;
}

void load_weights(MatFile& file, const NetworkDescription& network, const MatConvNetCell& cell,
                  LayerDescription& layer) {
  const std::string of_layer = " of layer '" + layer.name + "'";
  layer.weight = read_filters(file, *cell.filters, layer);
  check_finite(network, layer.weight, cell.filters->path + of_layer);
  if (cell.bias) {
    layer.bias = Tensor::empty({layer.out_c});
    file.read(*cell.bias, 0, layer.bias.span<float>());
    check_finite(network, layer.bias, cell.bias->path + of_layer);
  } else {
    layer.bias = Tensor::zeros({layer.out_c});
  }
}

}  // namespace

NetworkDescription read_matconvnet(const std::filesystem::path& path, const std::vector<std::string>& until) {
  MatFile file(path, kWanted);
  NetworkDescription network;
  network.source = path.string();
  const MatArray* layers = file.variable("layers");
  if (!layers) {
    std::string names;
    for (const std::string& name : file.names()) names += (names.empty() ? "" : ", ") + name;
    fail("[matconvnet] '{}' is a MAT file without a variable 'layers', so no MatConvNet network; it has: {}",
         path.string(), names.empty() ? "nothing" : names);
  }
  std::vector<MatConvNetCell> cells = read_cells(path.string(), *layers);
  for (MatConvNetCell& cell : cells) network.layers.push_back(std::move(cell.layer));
  check_network(network);
  read_mean_colour(file, network);
  network.class_names = read_class_names(file);
  const size_t count = network.count_until(until);
  for (size_t i = 0; i < count; ++i) {
    if (network.layers[i].kind == Kind::conv) load_weights(file, network, cells[i], network.layers[i]);
  }
  return network;
}

}  // namespace minidl::layers

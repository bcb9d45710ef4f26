#include <minidl/core/codec/safetensors_header.h>
#include <minidl/core/error.h>
#include <minidl/layers/transform_net_weights.h>
#include <minidl/version.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace minidl::layers {
namespace {

using detail::printable;
using Options = TransformNetOptions;

constexpr const char* kFormat = "minidl-transform-net";
constexpr const char* kFormatVersion = "1";

constexpr std::pair<UpsampleKind, const char*> kUpsampleKinds[] = {{UpsampleKind::nearest, "nearest"},
                                                                   {UpsampleKind::fractional, "fractional"}};
constexpr std::pair<Padding::Mode, const char*> kPaddings[] = {
    {Padding::Mode::reflect, "reflect"}, {Padding::Mode::zero, "zero"}, {Padding::Mode::replicate, "replicate"}};
constexpr std::pair<NormKind, const char*> kNorms[] = {{NormKind::instance, "instance"}, {NormKind::batch, "batch"}};
constexpr std::pair<OutputRange, const char*> kOutputRanges[] = {{OutputRange::linear, "linear"},
                                                                 {OutputRange::tanh, "tanh"}};

template <typename T, size_t count>
std::string word_of(T value, const std::pair<T, const char*> (&words)[count]) {
  return std::find_if(words, words + count, [&](const auto& pair) { return pair.first == value; })->second;
}

/// An option as text; `where` is what an error about it begins with.
struct Setting {
  std::string where, name, value;
};

template <typename T, size_t count>
T value_of(const Setting& setting, const std::pair<T, const char*> (&words)[count]) {
  std::string known;
  for (const auto& [value, text] : words) {
    if (setting.value == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  fail("{} {} {} does not exist; there are: {}", setting.where, setting.name, printable(setting.value), known);
}

int64_t integer_of(const Setting& setting) {
  const std::string& text = setting.value;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  MINIDL_CHECK(error == std::errc() && end == text.data() + text.size(), "{} {} {} is not a whole number",
               setting.where, setting.name, printable(text));
  return value;
}

/// False when there is no such option.
bool apply(const Setting& setting, Options& options) {
  const std::string& name = setting.name;
  if (name == "width") {
    options.width = integer_of(setting);
  } else if (name == "residual_blocks") {
    options.residual_blocks = integer_of(setting);
  } else if (name == "upsample") {
    options.upsample = value_of(setting, kUpsampleKinds);
  } else if (name == "padding") {
    options.padding = value_of(setting, kPaddings);
  } else if (name == "norm") {
    options.norm = value_of(setting, kNorms);
  } else if (name == "output_range") {
    options.output_range = value_of(setting, kOutputRanges);
  } else if (name == "styles") {
    options.styles = integer_of(setting);
  } else {
    return false;
  }
  return true;
}

/// Shape of a tensor that decides an option; throws Error when it is not there or does not have that many dimensions.
const Shape& shape_of(const SafetensorsReader& reader, const std::string& key, int rank) {
  const std::string file = reader.path().string();
  MINIDL_CHECK(reader.contains(key), "[transform_net] '{}' has no tensor '{}': it is not a transform net", file, key);
  const Shape& shape = reader.info(key).shape;
  MINIDL_CHECK(shape.rank() == rank || rank == 0,
               "[transform_net] '{}': tensor '{}' has shape {}, expected {} dimensions", file, key, shape, rank);
  return shape;
}

/// What the shapes say.
Options recognised(const SafetensorsReader& reader) {
  Options options;
  options.width = shape_of(reader, "conv1.conv2d.weight", 4)[0];
  options.residual_blocks = 0;
  while (reader.contains("res" + std::to_string(options.residual_blocks + 1) + ".conv1.conv2d.weight")) {
    ++options.residual_blocks;
  }
  const Shape& upsampling = shape_of(reader, "deconv1.conv2d.weight", 4);
  options.upsample = upsampling[0] > upsampling[1] ? UpsampleKind::fractional : UpsampleKind::nearest;
  const Shape& norm = shape_of(reader, "in1.weight", 0);
  options.styles = norm.rank() == 2 ? norm[0] : 1;
  return options;
}

Options read_options(const SafetensorsReader& reader) {
  const auto& metadata = reader.metadata();
  const auto format = metadata.find("format"), version = metadata.find("format_version");
  MINIDL_CHECK(format == metadata.end() || format->second != kFormat || version == metadata.end() ||
                   version->second == kFormatVersion,
               "[transform_net] '{}': metadata: format version {} is newer than this program", reader.path().string(),
               version == metadata.end() ? "" : printable(version->second));
  Options options = recognised(reader);
  for (const auto& [key, value] : metadata) {
    apply({"[transform_net] '" + reader.path().string() + "': metadata:", key, value}, options);
  }
  return options;
}

bool is_statistic(const std::string& name) {
  return name.ends_with(".running_mean") || name.ends_with(".running_var") || name.ends_with(".num_batches_tracked");
}

bool is_finite(const Tensor& f32) {
  const auto values = f32.span<float>();
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

/// In f32, of the shape that the net has it in.
Tensor read_tensor(const SafetensorsReader& reader, const std::string& name, const Shape& shape) {
  const std::string file = reader.path().string();
  MINIDL_CHECK(reader.contains(name), "[transform_net] '{}' has no tensor '{}', expected one of shape {}", file, name,
               shape);
  const SafetensorsReader::Info& info = reader.info(name);
  MINIDL_CHECK(info.shape == shape, "[transform_net] '{}': tensor '{}' has shape {}, expected {}", file, name,
               info.shape, shape);
  MINIDL_CHECK(info.dtype == Dtype::f32 || info.dtype == Dtype::f16 || info.dtype == Dtype::bf16,
               "[transform_net] '{}': tensor '{}' holds {}, expected f32, f16 or bf16", file, name,
               to_string(info.dtype));
  Tensor values = reader.read(name).to(Dtype::f32);
  MINIDL_CHECK(is_finite(values),
               "[transform_net] '{}': tensor '{}' has a value that is not finite: the file is damaged", file, name);
  return values;
}

}  // namespace

std::map<std::string, std::string> to_text(const TransformNetOptions& options) {
  return {{"width", std::to_string(options.width)},
          {"residual_blocks", std::to_string(options.residual_blocks)},
          {"upsample", word_of(options.upsample, kUpsampleKinds)},
          {"padding", word_of(options.padding, kPaddings)},
          {"norm", word_of(options.norm, kNorms)},
          {"output_range", word_of(options.output_range, kOutputRanges)},
          {"styles", std::to_string(options.styles)}};
}

void set_option(TransformNetOptions& options, const std::string& name, const std::string& value) {
  if (apply({"[transform_net]", name, value}, options)) return;
  std::string known;
  for (const auto& option : to_text({})) known += (known.empty() ? "" : ", ") + option.first;
  fail("[transform_net] there is no option {}; there are: {}", printable(name), known);
}

TransformNet read_transform_net(const SafetensorsReader& reader) {
  const std::string file = reader.path().string();
  const Options options = read_options(reader);
  const auto make = [&] {
    try {
      return TransformNet(options, TransformNet::Initial::zero);
    } catch (const Error& error) {
      fail("[transform_net] '{}' is not a net of this program: {}", file, error.what());
    }
  };
  TransformNet net = make();
  SafetensorsContent content = net.state();
  for (auto& [name, tensor] : content.tensors) tensor = read_tensor(reader, name, tensor.shape());
  for (const auto& [name, info] : reader.tensors()) {
    const auto is_same = [&name = name](const auto& pair) { return pair.first == name; };
    const bool known = std::any_of(content.tensors.begin(), content.tensors.end(), is_same);
    MINIDL_CHECK(known || is_statistic(name),
                 "[transform_net] '{}': tensor {} {} does not belong to this net ({} residual blocks, {} styles)", file,
                 printable(name), info.shape, options.residual_blocks, options.styles);
  }
  net.load_state(content);
  return net;
}

TransformNet read_transform_net(const std::filesystem::path& path) {
  return read_transform_net(SafetensorsReader(path));
}

void write_transform_net(const std::filesystem::path& path, const TransformNet& net,
                         const std::map<std::string, std::string>& metadata, Dtype storage) {
  MINIDL_CHECK(storage == Dtype::f32 || storage == Dtype::f16, "[transform_net] '{}' cannot store {}, only f32 or f16",
               path.string(), to_string(storage));
  SafetensorsContent content = net.state();
  for (auto& [name, tensor] : content.tensors) {
    tensor = tensor.to(storage);
    MINIDL_CHECK(is_finite(tensor.to(Dtype::f32)),
                 "[transform_net] '{}' was not written: {} has a value that {} cannot "
                 "hold",
                 path.string(), name, to_string(storage));
  }
  content.metadata = to_text(net.options());
  content.metadata["format"] = kFormat;
  content.metadata["format_version"] = kFormatVersion;
  content.metadata["producer"] = "libminidl " MINIDL_VERSION;
  for (const auto& [key, value] : metadata) {
    MINIDL_CHECK(content.metadata.emplace(key, value).second,
                 "[transform_net] '{}': metadata {} is written by the net itself", path.string(), printable(key));
  }
  write_safetensors(path, content);
}

}  // namespace minidl::layers

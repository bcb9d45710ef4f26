#include <fmt/format.h>
#include <minidl/apps/common/program.h>
#include <minidl/apps/common/report.h>
#include <minidl/apps/common/standard_flags.h>
#include <minidl/apps/convert_transform_net.h>
#include <minidl/core/file.h>
#include <minidl/core/safetensors.h>
#include <minidl/layers/vgg_weights.h>
#include <minidl/version.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace minidl::apps {
namespace {

namespace fs = std::filesystem;
using layers::LayerDescription;
using layers::NetworkDescription;
using Kind = LayerDescription::Kind;

struct Options {
  std::string input, output;
  bool list = false;
  std::optional<Dtype> storage;
  OutputFlags reports;
};

struct FileFacts {
  fs::path path;
  int64_t bytes = 0;
  std::string sha256;
};

/// A layer as it is listed. The hash is over the filters as [out, in, kh, kw] and then the bias, f32, little-endian:
/// the bytes of the tensors in PyTorch.
struct LayerFacts {
  std::string name, kind, kernel, stride, pad;
  int64_t in_c = 0, out_c = 0, parameters = 0;
  std::string sha256;
  std::vector<float> first_values;  // of the filters in that order
};

constexpr size_t kShownHash = 16;  // digits in the table; --verbose shows all
constexpr int64_t kFirstValues = 3;

std::optional<Options> parse_options(int argc, char** argv) {
  Options options;
  Flags flags({.program = "nst_convert",
               .summary =
                   "Converts network weights between MatConvNet .mat and .safetensors files, by the extension of "
                   "OUT, and lists their layers. Transform nets become .safetensors in PyTorch's names.",
               .example = "nst_convert imagenet-vgg-verydeep-19.mat vgg19.safetensors"});
  flags.positional("IN", options.input, "network to read: .mat or .safetensors, told apart by content")
      .required()
      .positional("OUT", options.output, "file to write: .mat or .safetensors")
      .toggle("--list", options.list, "print the table of layers; OUT is not needed then")
      .choice("--storage", options.storage,
              std::vector<std::pair<std::string, Dtype>>{{"f32", Dtype::f32}, {"f16", Dtype::f16}},
              "of a transform net's OUT (default: f32)");
  add_output_flags(flags, options.reports);
  if (!flags.parse(argc, argv)) return std::nullopt;
  if (options.output.empty() && !options.list) throw UsageError("OUT is missing (or --list, to only look at IN)");
  return options;
}

/// Before the first byte is read: nothing may be overwritten that is needed, and what is written must have a place.
void check_outputs(const Options& options) {
  if (!options.output.empty()) {
    if (lower_extension(options.output) != ".mat" && lower_extension(options.output) != ".safetensors") {
      throw UsageError(fmt::format("OUT is '{}': its extension must be .mat or .safetensors", options.output));
    }
    MINIDL_CHECK(!is_same_file(options.input, options.output), "'{}' would overwrite IN itself; choose another name",
                 options.output);
    check_can_write(options.output);
  }
  if (!options.reports.json.empty()) {
    MINIDL_CHECK(!is_same_file(options.input, options.reports.json) &&
                     (options.output.empty() || !is_same_file(options.output, options.reports.json)),
                 "--json '{}' would overwrite IN or OUT; choose another name", options.reports.json);
    check_can_write(options.reports.json);
  }
}

FileFacts facts_of(const fs::path& path) {
  return {path, static_cast<int64_t>(fs::file_size(path)), sha256_of_file(path)};
}

std::string kind_text(const LayerDescription& layer) {
  switch (layer.kind) {
    case Kind::conv:
      return "conv";
    case Kind::relu:
      return "relu";
    case Kind::pool:
      return layer.pool == PoolKind::max ? "pool max" : "pool average";
    case Kind::softmax:
      return "softmax";
  }
  return "";
}

LayerFacts facts_of(const LayerDescription& layer) {
  LayerFacts facts;
  facts.name = layer.name;
  facts.kind = kind_text(layer);
  if (layer.kind != Kind::conv && layer.kind != Kind::pool) return facts;
  const Padding& pad = layer.window.padding;
  facts.kernel = fmt::format("{}x{}", layer.k_h, layer.k_w);
  facts.stride = fmt::format("{}x{}", layer.window.stride_h, layer.window.stride_w);
  facts.pad = fmt::format("{} {} {} {}", pad.top, pad.bottom, pad.left, pad.right);
  if (layer.kind != Kind::conv) return facts;
  facts.in_c = layer.in_c;
  facts.out_c = layer.out_c;
  facts.parameters = layer.weight.count() + layer.bias.count();
  const Tensor filters = to_channels_first(layer.weight);
  const std::span<const std::byte> pieces[] = {std::as_bytes(filters.span<float>()),
                                               std::as_bytes(layer.bias.span<float>())};
  facts.sha256 = sha256_of_bytes(pieces);
  const auto values = filters.span<float>().first(static_cast<size_t>(std::min(kFirstValues, filters.count())));
  facts.first_values.assign(values.begin(), values.end());
  return facts;
}

void print_file(const char* what, const FileFacts& file) {
  fmt::print("{} {}: {} bytes, SHA-256 {}\n", what, file.path.string(), file.bytes, file.sha256);
}

std::string table_text(const NetworkDescription& network, const std::vector<LayerFacts>& table, bool verbose) {
  const size_t hash_digits = verbose ? std::string::npos : kShownHash;
  size_t name_width = 4;
  int64_t parameters = 0;
  for (const LayerFacts& layer : table) {
    name_width = std::max(name_width, layer.name.size());
    parameters += layer.parameters;
  }
  std::string text;
  const auto row = [&]<typename... Cells>(const Cells&... cells) {
    std::string line = fmt::format("{:<{}}  {:<12}  {:<6}  {:<6}  {:<8}  {:>5}  {:>5}  {:>10}  {:<{}}  {}", cells...);
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  const size_t hash_width = verbose ? 64 : kShownHash;
  row("name", name_width, "kind", "kernel", "stride", "pad", "in", "out", "parameters", "SHA-256", hash_width,
      "first values");
  for (const LayerFacts& layer : table) {
    const auto number = [](int64_t value) { return value == 0 ? std::string() : fmt::format("{}", value); };
    row(layer.name, name_width, layer.kind, layer.kernel, layer.stride, layer.pad, number(layer.in_c),
        number(layer.out_c), number(layer.parameters), layer.sha256.substr(0, hash_digits), hash_width,
        fmt::format("{:.8g}", fmt::join(layer.first_values, " ")));
  }
  return text + fmt::format("{} layers, {} parameters, {} class names, mean colour {:.7g}\n", table.size(), parameters,
                            network.class_names.size(), fmt::join(network.mean, " "));
}

Json to_json(const FileFacts& file) {
  return {{"path", file.path.string()}, {"bytes", file.bytes}, {"sha256", file.sha256}};
}

Json to_json(const LayerFacts& layer) {
  Json result = {{"name", layer.name}, {"kind", layer.kind}};
  if (layer.kernel.empty()) return result;
  result["kernel"] = layer.kernel;
  result["stride"] = layer.stride;
  result["pad"] = layer.pad;
  if (layer.parameters == 0) return result;
  result["in"] = layer.in_c;
  result["out"] = layer.out_c;
  result["parameters"] = layer.parameters;
  result["sha256"] = layer.sha256;
  result["first_values"] = layer.first_values;
  return result;
}

/// What a file holds, as text and as fields of the report, and how it is written again.
struct Source {
  std::string table;
  Json facts;
  std::function<void(const fs::path& output)> write;
};

Source read_vgg(const Options& options) {
  const NetworkDescription network = layers::read_network(options.input);
  MINIDL_CHECK(!options.storage, "--storage is for transform nets, '{}' is another network", options.input);
  std::vector<LayerFacts> table;
  for (const LayerDescription& layer : network.layers) table.push_back(facts_of(layer));
  Source source;
  source.table = table_text(network, table, options.reports.verbose);
  source.facts["mean"] = network.mean;
  source.facts["class_names"] = network.class_names.size();
  for (const LayerFacts& layer : table) source.facts["layers"].push_back(to_json(layer));
  source.write = [network](const fs::path& output) { layers::write_network(output, network); };
  return source;
}

Source read_net(const Options& options) {
  const auto stored = std::make_shared<StoredNet>(read_stored_net(options.input));
  MINIDL_CHECK(options.output.empty() || lower_extension(options.output) != ".mat",
               "'{}' is a transform net, which .mat files do not hold; name OUT .safetensors", options.input);
  return {net_table(*stored, options.reports.verbose), net_json(*stored), [&options, stored](const fs::path& output) {
            stored->net.save(output, stored->metadata, options.storage.value_or(Dtype::f32));
          }};
}

int run(int argc, char** argv) {
  const std::optional<Options> options = parse_options(argc, argv);
  if (!options) return kSuccess;
  check_outputs(*options);
  const bool print = !options->reports.quiet;
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };

  Json report = {{"program", "nst_convert"}, {"version", MINIDL_VERSION}};
  const Source source = is_transform_net(options->input) ? read_net(*options) : read_vgg(*options);
  const double read_seconds = seconds();
  const FileFacts input = facts_of(fs::path(options->input));
  if (print) {
    print_file("read", input);
    fmt::print("{}", source.table);
  }
  report["input"] = to_json(input);
  report.update(source.facts);
  if (!options->output.empty()) {
    source.write(options->output);
    const FileFacts output = facts_of(fs::path(options->output));
    if (print) print_file("wrote", output);
    report["output"] = to_json(output);
  }
  report["read_seconds"] = read_seconds;
  report["seconds"] = seconds();
  if (print && options->reports.verbose) fmt::print("read in {:.2f} s, {:.2f} s in all\n", read_seconds, seconds());
  if (!options->reports.json.empty()) write_json(options->reports.json, report);
  return kSuccess;
}

}  // namespace
}  // namespace minidl::apps

int main(int argc, char** argv) {
  return minidl::apps::run_program([&] { return minidl::apps::run(argc, argv); });
}

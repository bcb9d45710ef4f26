#include <fmt/format.h>
#include <minidl/apps/nst_gatys_flags.h>

#include <optional>

namespace minidl::apps {
namespace {

constexpr int kDraftIterations = 40, kSmallNetworkIterations = 60;  // without VGG, at each size

/// Settings as flags: empty where the preset decides.
struct Given {
  std::string preset = "default";
  std::optional<int64_t> size;
  std::optional<int> scales, iterations, history;
  std::optional<double> alpha, beta, tv, lr, momentum, style_scale;
  std::optional<PoolKind> pooling;
  std::optional<GatysOptimizer> optimizer;
  std::optional<ColorMatch> match_colors;
  std::vector<layers::WeightedLayer> content_layers, style_layers;
  std::string init;
  bool normalize_gradients = false, original_colors = false;
  std::optional<Quality> quality;
};

template <typename Value, typename Given>
void take(Value& setting, const Given& given) {
  if (given) setting = *given;
}

const GatysSettings& usual() {
  static const GatysSettings settings = GatysSettings::preset("default");
  return settings;
}

/// Says what the preset decides when nobody else does.
template <typename Value>
std::string help(const std::string& text, const Value& value) {
  return fmt::format("{} (preset default: {})", text, value);
}

std::string list_of(const std::vector<layers::WeightedLayer>& layers) {
  std::string text;
  for (const layers::WeightedLayer& layer : layers)
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", layer.name, layer.weight);
  return text;
}

void declare_pictures(Flags& flags, GatysOptions& options) {
  flags.group("Pictures");
  flags.text("--content", options.content, "FILE", "photo to repaint").required();
  flags
      .value("--style", "FILE[:WEIGHT]", "painting whose style to take; several are mixed by their weights", "",
             [&](const std::string& text) { options.styles.push_back(parse_weighted_file(text)); })
      .required()
      .repeatable();
  flags.text("--output,-o", options.output, "FILE", "result: .png, .jpg, .bmp or .tga");
  add_weights_flag(flags, options.weights, "without it the built-in small network is used");
  flags.text("--student", options.student, "FILE", "small network of nst_distill in place of the built-in one");
  flags.integer("--save-every", options.save_every, 0, 1000000000,
                "also save a numbered picture and the state every N iterations");
  flags.text("--resume", options.resume, "FILE", "go on from a state file; the other flags as in the first run");
}

void declare_look(Flags& flags, Given& given) {
  flags.group("Look");
  flags.value("--preset", "NAME", "default, paper or neural-style: all settings that are not given", given.preset,
              [&](const std::string& text) {
                GatysSettings::preset(text);
                given.preset = text;
              });
  flags.integer("--size", given.size, 0, 32768,
                help("longer side of content and style in pixels; 0: nothing is resized", usual().size));
  flags.number("--style-scale", given.style_scale, {.minimum = 0.01, .maximum = 100},
               help("size of the style picture: larger gives larger strokes", usual().style_scale));
  flags.number("--alpha,--content-weight", given.alpha, NumberRange::at_least(0),
               help("weight of the content", usual().alpha));
  flags.number("--beta,--style-weight", given.beta, NumberRange::at_least(0),
               help("weight of the style", usual().beta));
  flags.number("--tv", given.tv, NumberRange::at_least(0), help("weight of the total variation: smoother", usual().tv));
  flags.value("--content-layers", "LIST", help("layers and weights", list_of(usual().content_layers)), "",
              [&](const std::string& text) { given.content_layers = parse_layer_list(text); });
  flags.value("--style-layers", "LIST", help("layers and weights", list_of(usual().style_layers)), "",
              [&](const std::string& text) { given.style_layers = parse_layer_list(text); });
  flags.choice(
      "--pooling", given.pooling,
      std::vector<std::pair<std::string, PoolKind>>{{"max", PoolKind::max}, {"avg", PoolKind::average}},
      help("pooling of the network, whatever its file says", "avg; presets paper and neural-style: the file's"));
  flags.toggle("--normalize-gradients", given.normalize_gradients,
               "give the terms of all layers gradients of the same size at the start");
  flags.toggle("--original-colors", given.original_colors, "keep the photo's colours: only the brightness is painted");
  flags.choice("--match-colors", given.match_colors,
               std::vector<std::pair<std::string, ColorMatch>>{{"none", ColorMatch::none},
                                                               {"mean", ColorMatch::mean},
                                                               {"covariance", ColorMatch::covariance},
                                                               {"histogram", ColorMatch::histogram}},
               "give the painting the photo's colours before it is used");
}

void declare_optimisation(Flags& flags, Given& given) {
  flags.group("Optimisation");
  flags.choice("--quality", given.quality,
               std::vector<std::pair<std::string, Quality>>{
                   {"draft", Quality::draft}, {"normal", Quality::normal}, {"best", Quality::best}},
               "a small network quickly; the small network, then VGG when there are --weights; VGG (default: best with "
               "--weights, else normal)");
  flags.text("--init", given.init, "noise|content|style|FILE", help("starting picture", "content"));
  flags.integer(
      "--iterations", given.iterations, 0, 100000000,
      fmt::format("per scale; 0: only the loss of the starting picture (preset default: {}; {} with the small "
                  "network alone, {} at draft)",
                  usual().iterations, kSmallNetworkIterations, kDraftIterations));
  flags.integer("--scales", given.scales, 1, 16,
                help("sizes from coarse to fine, growing by sqrt 2; 1: only the full size", usual().scales));
  flags.choice("--optimizer", given.optimizer,
               std::vector<std::pair<std::string, GatysOptimizer>>{
                   {"lbfgs", GatysOptimizer::lbfgs}, {"adam", GatysOptimizer::adam}, {"sgd", GatysOptimizer::sgd}},
               help("how the picture is improved", "lbfgs"));
  flags.number("--lr", given.lr, NumberRange::positive(), "step of adam and sgd, in levels of 0..255");
  flags.number("--momentum", given.momentum, {.minimum = 0, .maximum = 0.999}, "of sgd");
  flags.integer("--history", given.history, 1, 10000, "pairs kept by lbfgs: more are faster and need more memory");
}

GatysSettings settings_from(const Given& given, GatysOptions& options) {
  GatysSettings settings = GatysSettings::preset(given.preset);
  take(settings.size, given.size);
  take(settings.scales, given.scales);
  take(settings.iterations, given.iterations);
  take(settings.history, given.history);
  take(settings.alpha, given.alpha);
  take(settings.beta, given.beta);
  take(settings.tv, given.tv);
  take(settings.lr, given.lr);
  take(settings.momentum, given.momentum);
  take(settings.style_scale, given.style_scale);
  take(settings.optimizer, given.optimizer);
  take(settings.match_colors, given.match_colors);
  if (given.pooling) settings.pooling = given.pooling;
  if (!given.content_layers.empty()) settings.content_layers = given.content_layers;
  if (!given.style_layers.empty()) settings.style_layers = given.style_layers;
  settings.normalize_gradients |= given.normalize_gradients;
  settings.original_colors |= given.original_colors;
  settings.seed = options.compute.seed;
  if (given.init == "noise") settings.init = GatysInit::noise;
  if (given.init == "content") settings.init = GatysInit::content;
  if (given.init == "style") settings.init = GatysInit::style;
  const bool is_file = !given.init.empty() && given.init != "noise" && given.init != "content" && given.init != "style";
  if (is_file) {
    settings.init = GatysInit::picture;
    options.init_file = given.init;
  }
  return settings;
}

}  // namespace

bool parse_gatys_options(int argc, const char* const* argv, GatysOptions& options) {
  Flags flags({.program = "nst_gatys",
               .summary = "Repaints a photo in the style of a painting (Gatys, Ecker, Bethge 2015).",
               .example = "nst_gatys --content photo.jpg --style painting.jpg -o out.png"});
  Given given;
  declare_pictures(flags, options);
  declare_look(flags, given);
  declare_optimisation(flags, given);
  add_compute_flags(flags, options.compute, "fp32, and bf16 for the small network");
  add_output_flags(flags, options.reports);
  if (!flags.parse(argc, argv)) return false;

  options.settings = settings_from(given, options);
  take_weights_from_environment(options.weights);
  options.quality = given.quality.value_or(options.weights.empty() ? Quality::normal : Quality::best);
  if (options.quality == Quality::best) require_weights(options.weights);
  if (!given.iterations && given.preset == "default") {
    if (options.quality == Quality::draft) options.settings.iterations = kDraftIterations;
    if (options.quality == Quality::normal && options.weights.empty())
      options.settings.iterations = kSmallNetworkIterations;
  }
  if (options.output.empty() && options.settings.iterations > 0 && !options.compute.dry_run) {
    throw UsageError("--output is missing: name the file for the result");
  }
  return true;
}

}  // namespace minidl::apps

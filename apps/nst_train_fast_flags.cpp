#include <fmt/format.h>
#include <minidl/apps/common/layer_list.h>
#include <minidl/apps/nst_train_fast_flags.h>

#include <optional>

namespace minidl::apps {
namespace {

/// Settings as flags: empty where the preset decides.
struct Given {
  std::string preset = "default";
  std::optional<int64_t> steps, batch, micro_batch, size, width, residual_blocks, warm_up;
  std::optional<double> alpha, beta, tv, weight_decay, clip_norm;
  std::optional<float> lr;
  std::optional<LrSchedule> schedule;
  std::optional<layers::UpsampleKind> upsample;
  std::optional<Padding::Mode> padding;
  std::optional<layers::NormKind> norm;
  std::optional<layers::OutputRange> output_range;
  std::vector<layers::WeightedLayer> content_layers, style_layers;
  bool original_colors = false, no_flip = false;
};

template <typename Value, typename Given>
void take(Value& setting, const Given& given) {
  if (given) setting = static_cast<Value>(*given);
}

const FastStyleSettings& usual() {
  static const FastStyleSettings settings = FastStyleSettings::preset("default");
  return settings;
}

/// Says what the preset decides when nobody else does.
template <typename Value>
std::string help(const std::string& text, const Value& value) {
  return fmt::format("{} (preset default: {})", text, value);
}

void declare_pictures(Flags& flags, TrainFastOptions& options, Given& given) {
  flags.group("Pictures");
  flags.texts("--style", options.styles, "FILE", "painting to learn; one net learns several").required();
  flags.text("--data", options.data, "DIR", "training photos, in this folder and those below it").required();
  flags.text("--output,-o", options.output, "FILE", "trained net: .safetensors").required();
  add_weights_flag(flags, options.weights);
  flags.integer("--style-size", options.style_size, 0, 32768,
                "longer side of the paintings in pixels; larger gives larger strokes; 0: as they are");
  flags.text("--cache", options.cache, "FILE", "keeps decoded photos, so that later epochs and runs need not decode");
  flags.number(
      "--zoom", options.zoom, NumberRange{1, 8},
      "photos are scaled at random, to up to X times --size, before a part is cut: for nets that will paint large "
      "pictures");
  flags.toggle("--no-flip", given.no_flip, "do not mirror photos");
  flags.text("--validation", options.validation, "DIR", "photos that are not learned: their loss is watched");
  flags.texts("--preview", options.previews, "FILE", "photo that is shown in the net's style as it learns");
}

void declare_net(Flags& flags, Given& given) {
  flags.group("Net");
  flags.integer("--width", given.width, 8, 64, help("channels of the first layer", usual().net.width));
  flags.integer("--residual-blocks", given.residual_blocks, 0, 100,
                help("blocks in the middle", usual().net.residual_blocks));
  using Upsample = layers::UpsampleKind;
  flags.choice("--upsample", given.upsample,
               std::vector<std::pair<std::string, Upsample>>{{"nearest", Upsample::nearest},
                                                             {"fractional", Upsample::fractional}},
               help("nearest neighbours and a convolution, or convolutions of stride 1/2", "nearest"));
  using Mode = Padding::Mode;
  flags.choice("--padding", given.padding,
               std::vector<std::pair<std::string, Mode>>{
                   {"reflect", Mode::reflect}, {"zero", Mode::zero}, {"replicate", Mode::replicate}},
               help("what lies beyond the border", "reflect"));
  flags.choice("--norm", given.norm,
               std::vector<std::pair<std::string, layers::NormKind>>{{"instance", layers::NormKind::instance},
                                                                     {"batch", layers::NormKind::batch}},
               help("normalisation", "instance"));
  flags.choice("--output-range", given.output_range,
               std::vector<std::pair<std::string, layers::OutputRange>>{{"linear", layers::OutputRange::linear},
                                                                        {"tanh", layers::OutputRange::tanh}},
               help("how the last values become colours", "linear"));
}

void declare_look(Flags& flags, Given& given) {
  flags.group("Look");
  flags.value("--preset", "NAME", "default, paper or pytorch-examples: all settings that are not given", given.preset,
              [&](const std::string& text) {
                FastStyleSettings::preset(text);
                given.preset = text;
              });
  flags.number("--alpha,--content-weight", given.alpha, NumberRange::at_least(0),
               help("weight of the content", usual().alpha));
  flags.number("--beta,--style-weight", given.beta, NumberRange::at_least(0),
               help("weight of the style", usual().beta));
  flags.number("--tv", given.tv, NumberRange::at_least(0), help("weight of the total variation: smoother", usual().tv));
  flags.value("--content-layers", "LIST", help("layers and weights", layer_list_text(usual().content_layers)), "",
              [&](const std::string& text) { given.content_layers = parse_layer_list(text); });
  flags.value("--style-layers", "LIST", help("layers and weights", layer_list_text(usual().style_layers)), "",
              [&](const std::string& text) { given.style_layers = parse_layer_list(text); });
  flags.toggle("--original-colors", given.original_colors,
               "learn the brightness only: nst_stylize puts the photo's colours back");
}

void declare_training(Flags& flags, TrainFastOptions& options, Given& given) {
  flags.group("Training");
  flags.integer("--steps", given.steps, 1, 1000000000, help("updates of the net", usual().steps));
  flags.integer("--batch", given.batch, 1, 1024, help("photos in each", usual().batch));
  flags.integer(
      "--micro-batch", given.micro_batch, 0, 1024,
      help("of them computed at a time, fewer in less memory; 0: two, or with batch norm all", usual().micro_batch));
  flags.integer("--size", given.size, 32, 4096, help("side of the photos in pixels", usual().size));
  flags.number("--lr", given.lr, NumberRange::positive(), help("learning rate of Adam", usual().lr));
  flags.choice("--lr-schedule", given.schedule,
               std::vector<std::pair<std::string, LrSchedule>>{
                   {"constant", LrSchedule::constant}, {"cosine", LrSchedule::cosine}, {"steps", LrSchedule::steps}},
               help("how the rate goes on", "cosine"));
  flags.integer("--warm-up", given.warm_up, 0, 1000000000, help("steps until the full rate", usual().warm_up));
  flags.number("--weight-decay", given.weight_decay, NumberRange::at_least(0),
               help("pulls weights towards 0", usual().weight_decay));
  flags.number("--clip-norm", given.clip_norm, NumberRange::at_least(0),
               help("longest gradient; 0: any", usual().clip_norm));
  flags.integer("--validate-every", options.watch.validate_every, 1, 1000000000, "steps between looks at --validation");
  flags.integer("--patience", options.watch.patience, 0, 1000000,
                "end after so many looks without a new best, and keep the best net; 0: never");
  flags.choice("--storage", options.storage,
               std::vector<std::pair<std::string, Dtype>>{{"f32", Dtype::f32}, {"f16", Dtype::f16}},
               "numbers of the result; f16 halves its file");
}

void declare_progress(Flags& flags, TrainFastOptions& options) {
  flags.group("Progress");
  add_training_flags(flags, options.training);
  flags.integer("--preview-every", options.preview_every, 1, 1000000000, "steps between previews");
  flags.integer("--preview-size", options.preview_size, 1, 32768, "their longer side in pixels");
}

FastStyleSettings settings_from(const Given& given, uint64_t seed) {
  FastStyleSettings settings = FastStyleSettings::preset(given.preset);
  take(settings.net.width, given.width);
  take(settings.net.residual_blocks, given.residual_blocks);
  take(settings.net.upsample, given.upsample);
  take(settings.net.padding, given.padding);
  take(settings.net.norm, given.norm);
  take(settings.net.output_range, given.output_range);
  take(settings.alpha, given.alpha);
  take(settings.beta, given.beta);
  take(settings.tv, given.tv);
  take(settings.steps, given.steps);
  take(settings.batch, given.batch);
  take(settings.micro_batch, given.micro_batch);
  take(settings.size, given.size);
  take(settings.lr, given.lr);
  take(settings.schedule, given.schedule);
  take(settings.warm_up, given.warm_up);
  take(settings.weight_decay, given.weight_decay);
  take(settings.clip_norm, given.clip_norm);
  if (!given.content_layers.empty()) settings.content_layers = given.content_layers;
  if (!given.style_layers.empty()) settings.style_layers = given.style_layers;
  settings.original_colors |= given.original_colors;
  settings.seed = seed;
  return settings;
}

}  // namespace

bool parse_train_fast_options(int argc, const char* const* argv, TrainFastOptions& options) {
  Flags flags(
      {.program = "nst_train_fast",
       .summary = "Trains a net that repaints any photo in the style of a painting at once (Johnson, Alahi, Li 2016).",
       .example = "nst_train_fast --style painting.jpg --data photos/ -o net.safetensors "
                  "--weights imagenet-vgg-verydeep-19.mat"});
  Given given;
  options.watch.validate_every = 500;
  declare_pictures(flags, options, given);
  declare_net(flags, given);
  declare_look(flags, given);
  declare_training(flags, options, given);
  declare_progress(flags, options);
  add_compute_flags(flags, options.compute);
  add_output_flags(flags, options.reports);
  if (!flags.parse(argc, argv)) return false;

  options.settings = settings_from(given, options.compute.seed);
  options.flip = !given.no_flip;
  require_weights(options.weights);
  finish_training_flags(options.training, options.output);
  if (options.watch.patience > 0 && options.validation.empty())
    throw UsageError("--patience needs --validation: photos whose loss is watched");
  if (options.validation.empty()) options.watch.validate_every = 0;
  return true;
}

}  // namespace minidl::apps

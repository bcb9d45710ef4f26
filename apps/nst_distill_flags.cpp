#include <fmt/format.h>
#include <fmt/ranges.h>
#include <minidl/apps/nst_distill_flags.h>

namespace minidl::apps {
namespace {

using layers::StudentOptions;

/// "16,32,80,192,192": a number for each block.
std::array<int64_t, StudentOptions::kBlocks> parse_blocks(const std::string& text, int64_t most) {
  std::array<int64_t, StudentOptions::kBlocks> numbers{};
  size_t begin = 0;
  for (size_t block = 0; block < numbers.size(); ++block) {
    const size_t end = text.find(',', begin);
    const bool is_last = block + 1 == numbers.size();
    MINIDL_CHECK((end == std::string::npos) == is_last, "must be {} numbers with commas between them", numbers.size());
    numbers[block] = parse_integer(std::string_view(text).substr(begin, is_last ? end : end - begin), 1, most);
    begin = end + 1;
  }
  return numbers;
}

void declare_pictures(Flags& flags, DistillOptions& options) {
  flags.group("Pictures");
  flags.text("--data", options.data, "DIR", "photos, in this folder and those below it").required();
  flags.text("--styles", options.styles, "DIR", "paintings, likewise").required();
  flags.text("--output,-o", options.output, "FILE", "the student: .safetensors").required();
  add_weights_flag(flags, options.weights);
  flags.number("--zoom", options.zoom, NumberRange{1, 8},
               "pictures are scaled at random, to up to X times --size, before a part is cut");
  flags.text("--cache", options.cache, "FILE", "keeps decoded photos, so that later epochs and runs need not decode");
  flags.texts("--validation-content", options.validation_contents, "FILE",
              "photo to judge the student by; with --validation-style, in pairs");
  flags.texts("--validation-style", options.validation_styles, "FILE",
              "painting for the --validation-content before it");
  flags.integer("--validation-size", options.validation_size, 32, 4096, "their longer side in pixels");
}

void declare_student(Flags& flags, DistillOptions& options) {
  StudentOptions& student = options.settings.student;
  flags.group("Student");
  flags.value("--widths", "N,N,N,N,N", "channels of the five blocks", fmt::format("{}", fmt::join(student.widths, ",")),
              [&](const std::string& text) { student.widths = parse_blocks(text, 1024); });
  flags.value("--convolutions", "N,N,N,N,N", "3x3 convolutions in each",
              fmt::format("{}", fmt::join(student.convolutions, ",")),
              [&](const std::string& text) { student.convolutions = parse_blocks(text, 8); });
  const std::vector<std::pair<std::string, PoolKind>> pools{{"max", PoolKind::max}, {"avg", PoolKind::average}};
  flags.choice("--pooling", student.pooling, pools, "between the blocks");
  flags.choice("--teacher-pooling", options.settings.teacher_pooling, pools, "of the network in --weights");
  flags.choice("--start", options.settings.fit_teacher,
               std::vector<std::pair<std::string, bool>>{{"teacher", true}, {"random", false}},
               "first weights: fitted to what the teacher answers, where it has layers as wide; or random ones");
  flags.choice("--storage", options.storage,
               std::vector<std::pair<std::string, Dtype>>{{"f32", Dtype::f32}, {"f16", Dtype::f16}, {"i8", Dtype::i8}},
               "numbers of the result; i8: weights of 8 bits with a scale for each filter");
  flags.text("--attribution", options.attribution, "TEXT", "what the file says about the teacher's origin");
}

void declare_loss(Flags& flags, DistillSettings& settings) {
  flags.group("What is learned");
  flags.value("--content-layers", "LIST", "layers and weights of the transfer's content",
              layer_list_text(settings.content_layers),
              [&](const std::string& text) { settings.content_layers = parse_layer_list(text); });
  flags.value("--style-layers", "LIST", "and of its style", layer_list_text(settings.style_layers),
              [&](const std::string& text) { settings.style_layers = parse_layer_list(text); });
  flags.number("--feature-weight", settings.feature_weight, NumberRange::at_least(0), "of the features' errors");
  flags.number("--gram-weight", settings.gram_weight, NumberRange::at_least(0), "of the Gram matrices' errors");
  flags.integer("--on-policy", settings.on_policy, 0, 1024, "pictures of a batch that the student itself is stylising");
  flags.integer("--pretraining", settings.pretraining, 0, 1000000000, "steps before there are any");
  flags.integer("--pool", settings.pool, 1, 100000, "how many pictures it works on in turn");
  flags.integer("--pool-iterations", settings.pool_iterations, 1, 10000, "of L-BFGS, a turn");
  flags.integer("--pool-turns", settings.pool_turns, 1, 10000, "after at most so many a picture is replaced");
  flags.number("--alpha,--content-weight", settings.alpha, NumberRange::at_least(0), "weight of their content");
  flags.number("--beta,--style-weight", settings.beta, NumberRange::at_least(0),
               "weight of their style, up to four times more or less");
  flags.number("--tv", settings.tv, NumberRange::at_least(0), "weight of their total variation");
  flags.number("--photo-styles", settings.photo_styles, NumberRange{0, 1}, "share whose style is a photo's");
}

void declare_training(Flags& flags, DistillOptions& options) {
  DistillSettings& settings = options.settings;
  flags.group("Training");
  flags.integer("--steps", settings.steps, 1, 1000000000, "updates of the student");
  flags.integer("--batch", settings.batch, 1, 1024, "pictures in each");
  flags.integer("--size", settings.size, 32, 4096, "their side in pixels");
  flags.number("--lr", settings.lr, NumberRange::positive(), "learning rate of Adam; falls along a cosine");
  flags.integer("--warm-up", settings.warm_up, 0, 1000000000, "steps until the full rate");
  flags.number("--clip-norm", settings.clip_norm, NumberRange::at_least(0), "longest gradient; 0: any");
  flags.choice("--student-precision", settings.student_precision,
               std::vector<std::pair<std::string, Precision>>{
                   {"fp32", Precision::fp32}, {"tf32", Precision::tf32}, {"bf16", Precision::bf16}},
               "arithmetic of the student; --precision is that of the teacher");
  flags.integer("--validate-every", options.watch.validate_every, 1, 1000000000, "steps between judgements");
  flags.integer("--validation-iterations", options.watch.iterations, 1, 100000, "of the pictures made for one");
  flags.group("Progress");
  add_training_flags(flags, options.training);
}

}  // namespace

bool parse_distill_options(int argc, const char* const* argv, DistillOptions& options) {
  Flags flags({.program = "nst_distill",
               .summary = "Trains a small network to stand for VGG in style transfer.",
               .example = "nst_distill --data photos/ --styles paintings/ -o student.safetensors --weights "
                          "imagenet-vgg-verydeep-19.mat --precision bf16"});
  options.watch.validate_every = 500;
  declare_pictures(flags, options);
  declare_student(flags, options);
  declare_loss(flags, options.settings);
  declare_training(flags, options);
  add_compute_flags(flags, options.compute);
  add_output_flags(flags, options.reports);
  if (!flags.parse(argc, argv)) return false;

  require_weights(options.weights);
  finish_training_flags(options.training, options.output);
  if (options.compute.device == "cuda") throw UsageError("--device cuda: students are trained on the CPU");
  options.compute.device = "cpu";
  if (options.compute.precision) options.settings.teacher_precision = parse_precision(*options.compute.precision);
  options.settings.seed = options.compute.seed;
  if (options.validation_contents.size() != options.validation_styles.size())
    throw UsageError(
        "--validation-content and --validation-style belong together: give as many of one as of the other");
  return true;
}

}  // namespace minidl::apps

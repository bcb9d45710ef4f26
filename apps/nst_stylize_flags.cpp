#include <minidl/apps/builtin_models.h>
#include <minidl/apps/nst_stylize_flags.h>

namespace minidl::apps {
namespace {

constexpr int64_t kLargestSide = 32768;

Extent parse_extent(const std::string& text) {
  const size_t cross = text.find('x');
  if (cross == std::string::npos) fail("must be WIDTHxHEIGHT, for example 1920x1080");
  try {
    return {.height = parse_integer(text.substr(cross + 1), 1, kLargestSide),
            .width = parse_integer(text.substr(0, cross), 1, kLargestSide)};
  } catch (const Error&) {
    fail("must be WIDTHxHEIGHT, both from 1 to {}, for example 1920x1080", kLargestSide);
  }
}

void check_model(const StylizeOptions& options) {
  if (options.model.empty() == options.builtin.empty()) {
    throw UsageError(options.model.empty()
                         ? "the model is missing: name a built-in style (--list shows them) with --builtin, or a file "
                           "with --model"
                         : "--model and --builtin exclude each other");
  }
}

void check_places(StylizeOptions& options, std::vector<std::string> places) {
  if (options.pipe) {
    if (!places.empty() || !options.output_dir.empty())
      throw UsageError("--pipe reads standard input and writes standard output: no IN, OUT or --output-dir beside it");
    if (options.settings.size != 0)
      throw UsageError("--size does not go with --pipe: frames keep their size; scale them before or after");
    return;
  }
  if (options.output_dir.empty()) {
    if (places.size() != 2) {
      throw UsageError(places.size() < 2 ? "name one picture IN and the result OUT, or --output-dir DIR for several"
                                         : "several pictures need --output-dir DIR");
    }
    options.output = places.back();
    places.pop_back();
  }
  if (places.empty()) throw UsageError("IN is missing: name pictures, folders or patterns");
  options.inputs = std::move(places);
}

}  // namespace

std::string model_name(const StylizeOptions& options) {
  return options.builtin.empty() ? options.model : "built-in " + options.builtin;
}

bool parse_stylize_options(int argc, const char* const* argv, StylizeOptions& options) {
  Flags flags({.program = "nst_stylize",
               .summary = "Paints pictures or video frames with a trained transform net, in one pass each.",
               .example = "nst_stylize --builtin stained_glass photo.jpg painted.png"});
  std::vector<std::string> places;
  flags.group("Pictures")
      .positionals("IN... [OUT]", places,
                   "a picture and the file for the result (.png, .jpg, .bmp, .tga); with --output-dir any number of "
                   "pictures, folders and patterns")
      .value("--builtin", "NAME", "style that is part of this program", "",
             [&](const std::string& text) {
               builtin_model(BuiltinModel::Kind::style, text);
               options.builtin = text;
             })
      .toggle("--list", options.list, "print the names of those styles and what they are; nothing else is needed then")
      .text("--model", options.model, "FILE", "trained net, .safetensors, instead")
      .text("--output-dir", options.output_dir, "DIR",
            "folder for the results, which keep their names and, from folders, their subfolders")
      .value("--pipe", "WIDTHxHEIGHT", "raw RGB24 frames of this size from standard input to standard output", "",
             [&](const std::string& text) { options.pipe = parse_extent(text); });
  flags.group("Look")
      .integer("--size", options.settings.size, 0, kLargestSide,
               "longer side of the result in pixels; 0: nothing is resized")
      .number("--strength", options.settings.strength, {.minimum = 0, .maximum = 1},
              "share of the net's picture in the result; the rest is the picture itself")
      .integer("--margin", options.settings.margin, 0, 1024,
               "pixels by which the picture is continued while it is painted, so that no frame is painted along its "
               "borders (default: 16 with a built-in style, else 0)")
      .toggle("--original-colors", options.settings.original_colors,
              "keep the picture's colours: only the brightness is painted (always so with a net trained for it)")
      .value("--style-index", "N|N:X,...", "style of a net that has several, or a mix like 0:0.7,2:0.3", "0",
             [&](const std::string& text) { options.mix = parse_style_mix(text); });
  add_compute_flags(flags, options.compute);
  flags.choice("--storage", options.settings.storage,
               std::vector<std::pair<std::string, Dtype>>{{"f32", Dtype::f32}, {"f16", Dtype::f16}},
               "go in strips, which takes less memory, and keep what waits as f32 or f16 (default: in one pass where "
               "memory allows)");
  add_output_flags(flags, options.reports);
  if (!flags.parse(argc, argv)) return false;
  if (options.list) return true;
  check_model(options);
  check_places(options, std::move(places));
  return true;
}

}  // namespace minidl::apps

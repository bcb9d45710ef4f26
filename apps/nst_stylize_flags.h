#pragma once
#include <minidl/apps/common/standard_flags.h>
#include <minidl/apps/common/style_mix.h>
#include <minidl/apps/stylizer.h>

#include <optional>
#include <string>
#include <vector>

namespace minidl::apps {

/// The command line of nst_stylize.
struct StylizeOptions {
  std::string model;                // a file, or
  std::string builtin;              // the name of a style of the library
  bool list = false;                // only print those names
  std::vector<std::string> inputs;  // pictures, folders, patterns
  std::string output;               // for a single picture
  std::string output_dir;           // for several
  std::optional<Extent> pipe;       // size of raw frames, instead of inputs and outputs
  std::vector<StyleShare> mix;
  StylizerSettings settings;
  OutputFlags reports;
  ComputeFlags compute;
};

/// How messages and reports call the model.
std::string model_name(const StylizeOptions& options);

/// False when --help or --version was asked for. Throws UsageError.
bool parse_stylize_options(int argc, const char* const* argv, StylizeOptions& options);

}  // namespace minidl::apps

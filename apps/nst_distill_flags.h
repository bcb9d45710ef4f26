#pragma once
#include <minidl/apps/common/layer_list.h>
#include <minidl/apps/common/standard_flags.h>
#include <minidl/apps/common/training_flags.h>
#include <minidl/apps/distill.h>

#include <string>
#include <vector>

namespace minidl::apps {

/// The command line of nst_distill.
struct DistillOptions {
  std::string data, styles, weights, output;
  std::string cache;  // of decoded photos; empty: none
  double zoom = 3.0;  // pictures are shown at up to so many times the size of a part that is learned
  Dtype storage = Dtype::f16;
  std::string attribution;
  std::vector<std::string> validation_contents, validation_styles;
  int64_t validation_size = 256;  // longer side

  TrainingFlags training;
  DistillSettings settings;
  DistillWatch watch;
  OutputFlags reports;
  ComputeFlags compute;
};

/// Fills `options`. False when --help or --version was asked for. Throws UsageError.
bool parse_distill_options(int argc, const char* const* argv, DistillOptions& options);

}  // namespace minidl::apps

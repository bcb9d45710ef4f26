#pragma once
#include <minidl/apps/common/standard_flags.h>
#include <minidl/apps/common/training_flags.h>
#include <minidl/apps/fast_style.h>

#include <string>
#include <vector>

namespace minidl::apps {

/// The command line of nst_train_fast.
struct TrainFastOptions {
  std::vector<std::string> styles;
  std::string data, validation, weights, output;
  std::string cache;         // of decoded photos; empty: none
  int64_t style_size = 512;  // longer side of the paintings; 0: as they are
  double zoom = 1.0;         // photos are shown at up to so many times the size of a part that is learned
  bool flip = true;
  Dtype storage = Dtype::f32;  // of the result

  std::vector<std::string> previews;  // photos
  int64_t preview_every = 500;
  int64_t preview_size = 512;  // longer side
  TrainingFlags training;

  FastStyleSettings settings;
  FastStyleWatch watch;
  OutputFlags reports;
  ComputeFlags compute;
};

/// Fills `options`: the preset first, then the flags that were given. False when --help or --version was asked for.
/// Throws UsageError.
bool parse_train_fast_options(int argc, const char* const* argv, TrainFastOptions& options);

}  // namespace minidl::apps

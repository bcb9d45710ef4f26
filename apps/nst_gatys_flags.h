#pragma once
#include <minidl/apps/common/layer_list.h>
#include <minidl/apps/common/standard_flags.h>
#include <minidl/apps/gatys.h>

#include <string>
#include <vector>

namespace minidl::apps {

/// What the picture is optimised with: draft, a small network and fewer iterations; normal, the small network and, when
/// there are weights of VGG, some iterations with it at the end; best, VGG alone.
enum class Quality { draft, normal, best };

/// The command line of nst_gatys.
struct GatysOptions {
  std::string content, output, resume;
  std::string weights;  // of VGG; empty: only the small network
  std::string student;  // file of the small network; empty: the built-in one
  Quality quality = Quality::best;
  std::vector<WeightedFile> styles;
  std::string init_file;  // for GatysInit::picture
  int save_every = 0;     // 0: only at the end
  GatysSettings settings;
  OutputFlags reports;
  ComputeFlags compute;
};

/// Fills `options`: the preset first, then the flags that were given. False when --help or --version was asked for.
/// Throws UsageError.
bool parse_gatys_options(int argc, const char* const* argv, GatysOptions& options);

}  // namespace minidl::apps

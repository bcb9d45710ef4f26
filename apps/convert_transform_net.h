#pragma once
#include <minidl/apps/common/report.h>
#include <minidl/layers/transform_net.h>

namespace minidl::apps {

/// What nst_convert does with transform nets.

/// Whether a file is one, by the names of its tensors. False for what cannot be read.
bool is_transform_net(const std::filesystem::path& path);

struct StoredNet {
  layers::TransformNet net;
  std::map<std::string, std::string> metadata;  // of the file, without what the net itself writes
};
StoredNet read_stored_net(const std::filesystem::path& path);

/// A line for each option, each tensor (as in PyTorch: filters [out, in, kh, kw]) and each entry of the metadata.
std::string net_table(const StoredNet& stored, bool verbose);
Json net_json(const StoredNet& stored);

}  // namespace minidl::apps

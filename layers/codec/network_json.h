#pragma once
#include <minidl/layers/network_description.h>

#include <map>

namespace minidl::layers {

/// What a safetensors file of ours says about a network beside its tensors: string values that hold JSON.
///   format           "minidl-network", format_version "1"
///   layers           [{"kind": "conv", "name": "conv1_1", "kernel": [3, 3], "stride": [1, 1], "pad": [1, 1, 1, 1],
///                      "channels": [3, 64]}, {"kind": "relu", "name": ..., "imitates": 512 in a student}, {"kind":
///                      "pool", "method": "max" or "average", "name", "kernel", "stride", "pad"}, {"kind": "softmax",
///                      "name"}]
///                    kernel and stride vertical first, pad top bottom left right, channels in and out
///   input_range      "rgb255_minus_mean": rgb in [0, 255] minus `mean`; "torchvision": (rgb / 255 - m) / s with the m
///                    and s of torchvision's models
///   mean             [123.68, 116.779, 103.939]
///   class_names      ["tench", ...], only when there are some
///   note.KEY         a note, as it is
using NetworkMetadata = std::map<std::string, std::string>;

inline constexpr const char* kInputMinusMean = "rgb255_minus_mean";
inline constexpr const char* kInputTorchvision = "torchvision";

NetworkMetadata to_metadata(const NetworkDescription& network);
/// Fills layers (without weights), mean and class names with those that the metadata has. `network.source` is for
/// errors: throws Error naming it and the key.
void apply_metadata(const NetworkMetadata& metadata, NetworkDescription& network);

}  // namespace minidl::layers

#pragma once
#include <minidl/layers/network_description.h>

#include <filesystem>

/// MatConvNet's networks in MAT v5 files. Four layouts of a convolution's cell are in circulation, told apart by the
/// names of its fields, never by their position:
///   (a) the oldest: `filters`, `biases`      (b) weights, pad, type, name, stride
///   (c) name, type, weights, size, pad, stride, precious, opts      (d) today's: the same and dilate
/// with `weights` a cell {filters, bias}. Filters are [kh, kw, in, out] with the first index fastest:
///   weight[k][h][w][c] = F[h + kh (w + kw (c + in k))]
namespace minidl::layers {

/// See read_network().
NetworkDescription read_matconvnet(const std::filesystem::path& path, const std::vector<std::string>& until);
/// Writes layout (d), compressed. See write_network().
void write_matconvnet(const std::filesystem::path& path, const NetworkDescription& network);

}  // namespace minidl::layers

#pragma once
#include <minidl/kernels/cuda/window_products.h>

/// Results of so few channels that most columns of a tile on tensor cores would be empty, as those of pairs: two
/// neighbours of a row of windows are one of twice the channels, which reads what both do. Its filters are theirs, with
/// a tap of zeros behind them or before.
namespace minidl::cuda {

/// Whether a product takes pairs whose results fill whole rows of its output.
bool takes_pairs(const WindowProducts& products, const Windows& windows, int channels);

Windows windows_of_pairs(Windows windows);
GatherOutput output_of_pairs(GatherOutput output);

/// filters [channels, k_h, k_w, in_c] as [2 * channels, k_h, k_w + 1, in_c].
Tensor paired_filters(const float* filters, int64_t channels, int64_t k_h, int64_t k_w, int64_t in_c);

}  // namespace minidl::cuda

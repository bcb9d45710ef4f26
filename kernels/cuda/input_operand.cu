#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cuda/input_operand.h>
#include <minidl/kernels/cuda/rounded_results.h>
#include <minidl/kernels/half.h>
#include <minidl/kernels/cuda/rounded_output.cuh>
#include <minidl/kernels/cuda/windows.cuh>

// Rows of taps of a picture with few channels, side by side: rows[n, h, w, s * c + channel] is what tap s of output
// column w reads, h a row of the input. A thread has four neighbouring numbers, which it writes as one vector. Grid
// (numbers / 1024), blocks of 256. Traffic: the picture from caches, the rows once.
namespace minidl::cuda {
namespace {

/// Where it spares a fifth of the terms of few channels; of filters so wide that what is spared is more than the rows,
/// which are written and read.
bool merges_rows(const WindowProducts& products, const Conv2dDesc& d) {
  constexpr int64_t kFewestTaps = 5;
  return d.k_w >= kFewestTaps && d.in_c < kFewChannels &&
         5 * products.channels(d.k_w * d.in_c) <= 4 * d.k_w * products.channels(d.in_c);
}

template <typename Format>
MINIDL_KERNEL(kMapThreads, tap_rows_kernel, int64_t vectors, Windows picture, int taps, int channels, int padded,
              const float* values, typename Format::Element* rows) {
  const int64_t vector = int64_t{blockIdx.x} * kMapThreads + threadIdx.x, at = 4 * vector;
  if (vector >= vectors) return;
  const int64_t place = at / padded, line = place / picture.windows_w;
  const int first = static_cast<int>(at - place * padded), column = static_cast<int>(place - line * picture.windows_w);
  float four[4] = {};
  for (int i = 0; i < 4; ++i) {
    const int number = first + i, tap = number / channels;
    const int read = index_read(column * picture.stride_w + picture.begin_w + tap, picture.in_w, picture.mode);
    if (tap < taps && read >= 0) four[i] = load(values + (line * picture.in_w + read) * channels + number % channels);
  }
  store_rounded<Format>(rows + at, four);
}

/// In terms of the input's pixels and channels.
Windows plain_windows(const WindowProducts& products, const Conv2dDesc& d) {
  const Padding& padding = d.window.padding;
  return {.n = static_cast<int>(d.n),
          .in_h = static_cast<int>(d.in_h),
          .in_w = static_cast<int>(d.in_w),
          .in_c = static_cast<int>(products.channels(d.in_c)),
          .mode = padding.mode,
          .k_h = static_cast<int>(d.k_h),
          .k_w = static_cast<int>(d.k_w),
          .windows_h = static_cast<int>(d.out_h()),
          .windows_w = static_cast<int>(d.out_w()),
          .stride_h = static_cast<int>(d.window.stride_h),
          .stride_w = static_cast<int>(d.window.stride_w),
          .begin_h = static_cast<int>(-padding.top),
          .begin_w = static_cast<int>(-padding.left)};
}

Tensor tap_rows(const WindowProducts& products, const Conv2dDesc& d, const float* values) {
  const int64_t padded = products.channels(d.k_w * d.in_c);
  Tensor rows = Tensor::empty({d.n * d.in_h * d.out_w(), padded}, products.dtype, current_device());
  const Windows picture = plain_windows(products, d);
  with_format(products.dtype, [&]<typename Format>(Format) {
    MINIDL_LAUNCH(tap_rows_kernel<Format>, blocks_for(rows.count() / 4, kMapThreads), kMapThreads, 0, current_stream(),
                  rows.count() / 4, picture, static_cast<int>(d.k_w), static_cast<int>(d.in_c),
                  static_cast<int>(padded), values, static_cast<typename Format::Element*>(rows.raw()));
  });
  return rows;
}

}  // namespace

Windows windows_of(const WindowProducts& products, const Conv2dDesc& d) {
  Windows windows = plain_windows(products, d);
  if (!merges_rows(products, d)) return windows;
  windows.in_w = windows.windows_w;
  windows.in_c = static_cast<int>(products.channels(d.k_w * d.in_c));
  windows.k_w = windows.stride_w = 1;
  windows.begin_w = 0;
  return windows;
}

FilterRow filter_row(const WindowProducts& products, const Conv2dDesc& d) {
  return merges_rows(products, d) ? FilterRow{1, d.k_w * d.in_c} : FilterRow{d.k_w, d.in_c};
}

Operand input_operand(const WindowProducts& products, const Conv2dDesc& d, const Tensor* tensor, const float* values) {
  const int64_t pixels = d.n * d.in_h * d.in_w;
  if (merges_rows(products, d))
    return Operand(values ? tap_rows(products, d, values) : tap_rows(products, d, as_f32(*tensor).data<float>()));
  return values ? operand_of(products, tensor, values, pixels, d.in_c) : operand_of(products, *tensor, pixels, d.in_c);
}

int64_t input_operand_bytes(const WindowProducts& products, const Conv2dDesc& d) {
  if (products.reads_values) return 0;
  if (!merges_rows(products, d)) return operand_bytes(products.dtype, d.n * d.in_h * d.in_w, d.in_c);
  return d.n * d.in_h * d.out_w() * products.channels(d.k_w * d.in_c) * static_cast<int64_t>(size_of(products.dtype));
}

}  // namespace minidl::cuda

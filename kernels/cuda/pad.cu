#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/windows.cuh>

// Padding and its gradient. A thread does one pixel's 4 neighbouring channels (or one, see map.cuh), of the padded
// picture forward and of the picture itself backward, where it adds up the positions that read the pixel. Blocks of
// 256. Traffic: input and output once, and, backward, the borders' positions.
namespace minidl::cuda {
namespace {

struct PadSize {
  int64_t count;  // elements that threads write
  int h, w, c;    // of the picture
  Padding padding;
};

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, pad_forward_kernel, PadSize size, const float* input, float* output) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  const Padding& pad = size.padding;
  const Element e =
      element_at<Index>(static_cast<Index>(i), size.h + pad.top + pad.bottom, size.w + pad.left + pad.right, size.c);
  const int row = index_read(e.row - static_cast<int>(pad.top), size.h, pad.mode);
  const int column = index_read(e.column - static_cast<int>(pad.left), size.w, pad.mode);
  float values[kWidth] = {};
  if (row >= 0 && column >= 0) {
    load_vector<kWidth>(input + ((e.n * size.h + row) * size.w + column) * size.c + e.channel, values);
  }
  store_vector<kWidth>(output + i, values);
}

/// The positions along an axis, counted from the first pixel, that read pixel i: begin + step * t up to `last`, from
/// both beginnings; one of them may lie behind `last`.
struct Readers {
  int begin[2];
  int last, step;
};
MINIDL_DEVICE Readers readers_of(int i, int extent, int before, int after, Padding::Mode mode) {
  const int end = extent - 1 + after;
  if (mode == Padding::Mode::zero) return {{i, end + 1}, i, 1};
  if (mode == Padding::Mode::replicate || extent == 1) {
    return {{i == 0 ? -before : i, end + 1}, i == extent - 1 ? end : i, 1};
  }
  const int period = 2 * (extent - 1);
  const auto beginning = [&](int at) { return at - (at + before) / period * period; };  // the first one >= -before
  const int mirrored = i == 0 || i == extent - 1 ? end + 1 : beginning(period - i);
  return {{beginning(i), mirrored}, end, period};
}

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, pad_backward_kernel, PadSize size, const float* grad_output, GradientOutput sink) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  const Padding& pad = size.padding;
  const int top = static_cast<int>(pad.top), left = static_cast<int>(pad.left);
  const Element e = element_at<Index>(static_cast<Index>(i), size.h, size.w, size.c);
  const Readers rows = readers_of(e.row, size.h, top, static_cast<int>(pad.bottom), pad.mode);
  const Readers columns = readers_of(e.column, size.w, left, static_cast<int>(pad.right), pad.mode);
  const int64_t out_h = size.h + pad.top + pad.bottom, out_w = size.w + pad.left + pad.right;
  float sums[kWidth] = {};
  for (int a = 0; a < 2; ++a) {
    for (int row = rows.begin[a]; row <= rows.last; row += rows.step) {
      for (int b = 0; b < 2; ++b) {
        for (int column = columns.begin[b]; column <= columns.last; column += columns.step) {
          float values[kWidth];
          load_vector<kWidth>(grad_output + ((e.n * out_h + row + top) * out_w + column + left) * size.c + e.channel,
                              values);
          for (int k = 0; k < kWidth; ++k) sums[k] += values[k];
        }
      }
    }
  }
  sink.write<kWidth>(i, sums);
}

}  // namespace

void pad_forward(const Shape& shape, const Padding& padding, const float* input, float* output) {
  PadSize size{0, static_cast<int>(shape[1]), static_cast<int>(shape[2]), static_cast<int>(shape[3]), padding};
  size.count =
      shape[0] * (shape[1] + padding.top + padding.bottom) * (shape[2] + padding.left + padding.right) * shape[3];
  if (size.count == 0) return;
  with_index_and_width(size.count, takes_vectors(size.c, {input, output}), [&](auto index, auto width) {
    MINIDL_LAUNCH((pad_forward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, input, output);
  });
}

void pad_backward(const Shape& shape, const Padding& padding, const float* grad_output, const GradTarget& target) {
  const PadSize size{shape.count(), static_cast<int>(shape[1]), static_cast<int>(shape[2]), static_cast<int>(shape[3]),
                     padding};
  if (size.count == 0) return;
  with_index_and_width(size.count, takes_vectors(size.c, {grad_output, target.grad}), [&](auto index, auto width) {
    MINIDL_LAUNCH((pad_backward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, grad_output, GradientOutput{target});
  });
}

}  // namespace minidl::cuda

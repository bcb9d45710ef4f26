#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/conv2d_pool2d.h>
#include <minidl/kernels/cuda/unpooled_operand.h>
#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/rounded_output.cuh>

// Pooling and its gradient. A thread does 4 neighbouring channels of a pixel (or one, see map.cuh): of the output
// forward, of the input backward, where it goes through the windows that contain the pixel and adds what they send
// there. Where windows lie side by side, a thread does all pixels of one instead. Blocks of 256. Traffic with such
// windows: input, output and choice once each way.
namespace minidl::cuda {
namespace {

struct PoolSize {
  int64_t count;  // elements that threads write
  int in_h, in_w, out_h, out_w, c;
  int k_h, k_w, stride_h, stride_w, top, left;
  bool is_max;
};

PoolSize size_of(const Pool2dDesc& desc, const Shape& written) {
  const Window& window = desc.window;
  return {written.count(),
          static_cast<int>(desc.in_h),
          static_cast<int>(desc.in_w),
          static_cast<int>(desc.out_h()),
          static_cast<int>(desc.out_w()),
          static_cast<int>(desc.c),
          static_cast<int>(desc.k_h),
          static_cast<int>(desc.k_w),
          static_cast<int>(window.stride_h),
          static_cast<int>(window.stride_w),
          static_cast<int>(window.padding.top),
          static_cast<int>(window.padding.left),
          desc.kind == PoolKind::max};
}

/// Four neighbouring choices as one word.
bool takes_words(const uint8_t* choice) {
  return reinterpret_cast<uintptr_t>(choice) % sizeof(unsigned) == 0;
}

template <int kWidth>
MINIDL_DEVICE void store_choice(uint8_t* choice, const int (&values)[kWidth]) {
  if constexpr (kWidth == 4) {
    const unsigned four = static_cast<unsigned>(values[0]) | static_cast<unsigned>(values[1]) << 8 |
                          static_cast<unsigned>(values[2]) << 16 | static_cast<unsigned>(values[3]) << 24;
    store(reinterpret_cast<unsigned*>(choice), four);
  } else {
    store(choice, static_cast<uint8_t>(values[0]));
  }
}

template <int kWidth>
MINIDL_DEVICE void load_choice(const uint8_t* choice, int (&values)[kWidth]) {
  if constexpr (kWidth == 4) {
    const unsigned four = load(reinterpret_cast<const unsigned*>(choice));
    for (int k = 0; k < 4; ++k) values[k] = static_cast<int>(four >> 8 * k & 0xff);
  } else {
    values[0] = load(choice);
  }
}

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, pool2d_forward_kernel, PoolSize size, const float* input, float* output, uint8_t* choice) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  const Element e = element_at<Index>(static_cast<Index>(i), size.out_h, size.out_w, size.c);
  const int top = e.row * size.stride_h - size.top, left = e.column * size.stride_w - size.left;
  float results[kWidth] = {};
  int chosen[kWidth];
  for (int k = 0; k < kWidth; ++k) chosen[k] = -1;
  for (int r = 0; r < size.k_h; ++r) {
    if (top + r < 0 || top + r >= size.in_h) continue;
    for (int s = 0; s < size.k_w; ++s) {
      if (left + s < 0 || left + s >= size.in_w) continue;
      float values[kWidth];
      load_vector<kWidth>(input + ((e.n * size.in_h + top + r) * size.in_w + left + s) * size.c + e.channel, values);
      for (int k = 0; k < kWidth; ++k) {
        if (!size.is_max) {
          results[k] += values[k];
        } else if (chosen[k] < 0 || values[k] > results[k] || (values[k] != values[k] && results[k] == results[k])) {
          results[k] = values[k];
          chosen[k] = r * size.k_w + s;
        }
      }
    }
  }
  if (!size.is_max) {
    for (int k = 0; k < kWidth; ++k) results[k] /= static_cast<float>(size.k_h * size.k_w);
  }
  store_vector<kWidth>(output + i, results);
  if (choice) store_choice<kWidth>(choice + i, chosen);
}

/// The first window that contains a position, counted from the first window's beginning.
MINIDL_DEVICE int first_window(int position, int kernel, int stride) {
  return position < kernel ? 0 : (position - kernel) / stride + 1;
}

template <typename Index, int kWidth>
MINIDL_KERNEL(kMapThreads, pool2d_backward_kernel, PoolSize size, const uint8_t* choice, const float* grad_output,
              GradientOutput sink) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= size.count) return;
  const Element e = element_at<Index>(static_cast<Index>(i), size.in_h, size.in_w, size.c);
  const int y = e.row + size.top, x = e.column + size.left;
  float sums[kWidth] = {};
  for (int h = first_window(y, size.k_h, size.stride_h); h < size.out_h && h * size.stride_h <= y; ++h) {
    for (int w = first_window(x, size.k_w, size.stride_w); w < size.out_w && w * size.stride_w <= x; ++w) {
      const int64_t from = ((e.n * size.out_h + h) * size.out_w + w) * size.c + e.channel;
      float values[kWidth];
      load_vector<kWidth>(grad_output + from, values);
      if (size.is_max) {
        const int offset = (y - h * size.stride_h) * size.k_w + x - w * size.stride_w;
        int chosen[kWidth];
        load_choice<kWidth>(choice + from, chosen);
        for (int k = 0; k < kWidth; ++k) sums[k] += chosen[k] == offset ? values[k] : 0.0f;
      } else {
        for (int k = 0; k < kWidth; ++k) sums[k] += values[k];
      }
    }
  }
  if (!size.is_max) {
    for (int k = 0; k < kWidth; ++k) sums[k] /= static_cast<float>(size.k_h * size.k_w);
  }
  sink.write<kWidth>(i, sums);
}

bool side_by_side(const PoolSize& size) {
  return size.stride_h == size.k_h && size.stride_w == size.k_w && size.top == 0 && size.left == 0;
}

/// With windows side by side, of which there are windows_h x windows_w, those counted that end outside of the input:
/// the pixels of these have a gradient of zero.
template <typename Index, int kWidth, typename Sink>
MINIDL_KERNEL(kMapThreads, pool2d_backward_apart_kernel, PoolSize size, int windows_h, int windows_w, int64_t count,
              const uint8_t* choice, const float* grad_output, Sink sink) {
  const int64_t i = kWidth * (int64_t{blockIdx.x} * kMapThreads + threadIdx.x);
  if (i >= count) return;
  const Element e = element_at<Index>(static_cast<Index>(i), windows_h, windows_w, size.c);
  float values[kWidth] = {};
  int chosen[kWidth] = {};
  if (e.row < size.out_h && e.column < size.out_w) {
    const int64_t from = ((e.n * size.out_h + e.row) * size.out_w + e.column) * size.c + e.channel;
    load_vector<kWidth>(grad_output + from, values);
    if (size.is_max) load_choice<kWidth>(choice + from, chosen);
  }
  if (!size.is_max) {
    for (int k = 0; k < kWidth; ++k) values[k] /= static_cast<float>(size.k_h * size.k_w);
  }
  for (int r = 0; r < size.k_h; ++r) {
    for (int s = 0; s < size.k_w; ++s) {
      const int row = e.row * size.k_h + r, column = e.column * size.k_w + s;
      if (row >= size.in_h || column >= size.in_w) continue;
      float grads[kWidth];
      for (int k = 0; k < kWidth; ++k) {
        grads[k] = !size.is_max || chosen[k] == r * size.k_w + s ? values[k] : 0.0f;
      }
      sink.template write<kWidth>(((e.n * size.in_h + row) * size.in_w + column) * size.c + e.channel, grads);
    }
  }
}

/// Where the gradient goes of which the rest of the backward pass reads an operand alone.
template <typename Format>
struct OperandOutput {
  typename Format::Element* grad;
  BitSpan relu_mask;

  template <int kWidth>
  MINIDL_DEVICE void write(int64_t i, const float (&r)[kWidth]) const {
    const int64_t bit = relu_mask.first + i;
    const unsigned bits = relu_mask.bits ? static_cast<unsigned>(load(relu_mask.bits + bit / 8)) >> bit % 8 : 15u;
    float values[kWidth];
    for (int k = 0; k < kWidth; ++k) values[k] = bits >> k & 1 ? r[k] : 0.0f;
    store_rounded<Format>(grad + i, values);
  }
};

template <typename Sink>
void launch_apart(const PoolSize& size, int64_t n, bool vectors, const uint8_t* choice, const float* grad_output,
                  const Sink& sink) {
  const int windows_h = (size.in_h + size.k_h - 1) / size.k_h, windows_w = (size.in_w + size.k_w - 1) / size.k_w;
  const int64_t count = n * windows_h * windows_w * size.c;
  with_index_and_width(size.count, vectors, [&](auto index, auto width) {
    MINIDL_LAUNCH((pool2d_backward_apart_kernel<decltype(index), width, Sink>), blocks_for(count, width * kMapThreads),
                  kMapThreads, 0, current_stream(), size, windows_h, windows_w, count, choice, grad_output, sink);
  });
}

MINIDL_KERNEL(kMapThreads, close_choice_kernel, int64_t count, const float* largest, uint8_t* choice) {
  const int64_t i = int64_t{blockIdx.x} * kMapThreads + threadIdx.x;
  if (i < count && !(load(largest + i) > 0.0f)) store(choice + i, uint8_t{4});
}

}  // namespace

void pool2d_forward(const Pool2dDesc& desc, const float* input, float* output, uint8_t* choice) {
  const PoolSize size = size_of(desc, desc.output_shape());
  with_index_and_width(
      size.count, takes_vectors(size.c, {input, output}) && takes_words(choice), [&](auto index, auto width) {
        MINIDL_LAUNCH((pool2d_forward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                      kMapThreads, 0, current_stream(), size, input, output, choice);
      });
}

void pool2d_backward(const PoolGradient& pool) {
  const PoolSize size = size_of(pool.desc, pool.desc.input_shape());
  const GradientOutput sink{pool.target};
  const bool vectors = takes_vectors(size.c, {pool.grad_output, pool.target.grad}) && takes_words(pool.choice);
  if (!side_by_side(size)) {
    with_index_and_width(size.count, vectors, [&](auto index, auto width) {
      MINIDL_LAUNCH((pool2d_backward_kernel<decltype(index), width>), blocks_for(size.count, width * kMapThreads),
                    kMapThreads, 0, current_stream(), size, pool.choice, pool.grad_output, sink);
    });
    return;
  }
  launch_apart(size, pool.desc.n, vectors, pool.choice, pool.grad_output, sink);
}

Tensor unpooled_operand(Dtype dtype, const Conv2dDesc& desc, const uint8_t* choice, BitSpan positive,
                        const float* grad_output) {
  const Pool2dDesc pool = pool_of(desc, choice ? PoolKind::max : PoolKind::average);
  Tensor operand = Tensor::empty(desc.output_shape(), dtype, current_device());
  const PoolSize size = size_of(pool, pool.input_shape());
  const bool vectors = takes_vectors(size.c, {grad_output}) && takes_words(choice);
  with_format(dtype, [&]<typename Format>(Format) {
    launch_apart(size, pool.n, vectors, choice, grad_output,
                 OperandOutput<Format>{static_cast<typename Format::Element*>(operand.raw()), positive});
  });
  return operand;
}

void close_choice(int64_t count, const float* largest, uint8_t* choice) {
  if (count == 0) return;
  MINIDL_LAUNCH(close_choice_kernel, blocks_for(count, kMapThreads), kMapThreads, 0, current_stream(), count, largest,
                choice);
}

}  // namespace minidl::cuda

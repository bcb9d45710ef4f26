#include <minidl/core/cuda/backend.h>
#include <minidl/kernels/cuda/mma_operand.h>
#include <minidl/kernels/cuda/rounded_output.cuh>

// Copies of operands, rounded and with channels up to a multiple of 16 bytes. A thread has four neighbouring channels,
// which it writes as one vector. Grid (rows * channels / 1024), blocks of 256. Traffic: the values and the copy once.
namespace minidl::cuda {
namespace {

template <typename Format, int kWidth>
MINIDL_KERNEL(kMapThreads, operand_kernel, int64_t rows, int64_t channels, int64_t padded, const float* values,
              typename Format::Element* operand) {
  const int64_t vector = int64_t{blockIdx.x} * kMapThreads + threadIdx.x, at = 4 * vector;
  if (vector >= rows * (padded / 4)) return;
  const int64_t row = at / padded, channel = at - row * padded;
  float four[4] = {};
  if constexpr (kWidth == 4) {
    if (channel < channels) load_vector<4>(values + row * channels + channel, four);
  } else {
    for (int i = 0; i < 4; ++i) {
      if (channel + i < channels) four[i] = load(values + row * channels + channel + i);
    }
  }
  store_rounded<Format>(operand + at, four);
}

/// a x + b[c], as an operand and as it is. Four channels a thread, of few that are no vectors.
template <typename Format>
MINIDL_KERNEL(kMapThreads, shifted_operand_kernel, int64_t rows, int channels, int padded, float a, const float* x,
              const float* b, float* output, typename Format::Element* operand) {
  const int64_t vector = int64_t{blockIdx.x} * kMapThreads + threadIdx.x, at = 4 * vector;
  if (vector >= rows * (padded / 4)) return;
  const int64_t row = at / padded;
  const int channel = static_cast<int>(at - row * padded);
  float four[4] = {};
  for (int i = 0; i < 4 && channel + i < channels; ++i) {
    const int64_t element = row * channels + channel + i;
    four[i] = a * load(x + element) + load(b + channel + i);
    store(output + element, four[i]);
  }
  store_rounded<Format>(operand + at, four);
}

template <typename Format>
void launch_shifted(int64_t rows, int64_t channels, int64_t padded, float a, const float* x, const float* b,
                    float* output, void* operand) {
  MINIDL_LAUNCH(shifted_operand_kernel<Format>, blocks_for(rows * padded, int64_t{kMapThreads} * 4), kMapThreads, 0,
                current_stream(), rows, static_cast<int>(channels), static_cast<int>(padded), a, x, b, output,
                static_cast<typename Format::Element*>(operand));
}

template <typename Format>
void launch_copy(int64_t rows, int64_t channels, int64_t padded, const float* values, void* operand) {
  with_width(takes_vectors(channels, {values}), [&](auto width) {
    MINIDL_LAUNCH((operand_kernel<Format, width>), blocks_for(rows * padded, int64_t{kMapThreads} * 4), kMapThreads, 0,
                  current_stream(), rows, channels, padded, values, static_cast<typename Format::Element*>(operand));
  });
}

}  // namespace

int64_t operand_channels(Dtype dtype, int64_t channels) {
  const int64_t chunk = 16 / static_cast<int64_t>(size_of(dtype));
  return (channels + chunk - 1) / chunk * chunk;
}

int64_t operand_bytes(Dtype dtype, int64_t rows, int64_t channels) {
  const int64_t padded = operand_channels(dtype, channels);
  return dtype == Dtype::f32 && padded == channels ? 0 : rows * padded * static_cast<int64_t>(size_of(dtype));
}

Tensor mma_operand(Dtype dtype, const float* values, int64_t rows, int64_t channels) {
  const int64_t padded = operand_channels(dtype, channels);
  if (dtype == Dtype::f32 && takes_vectors(channels, {values})) return {};
  Tensor operand = Tensor::empty({rows, padded}, dtype, current_device());
  if (rows == 0) return operand;
  with_format(dtype,
              [&]<typename Format>(Format) { launch_copy<Format>(rows, channels, padded, values, operand.raw()); });
  return operand;
}

Tensor shifted_operand(Dtype dtype, int64_t rows, int64_t channels, float a, const float* x, const float* b,
                       float* output) {
  const int64_t padded = operand_channels(dtype, channels);
  Tensor operand = Tensor::empty({rows, padded}, dtype, current_device());
  if (rows == 0) return operand;
  with_format(dtype, [&]<typename Format>(Format) {
    launch_shifted<Format>(rows, channels, padded, a, x, b, output, operand.raw());
  });
  return operand;
}

}  // namespace minidl::cuda

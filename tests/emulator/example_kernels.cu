// The kernels of the emulator's tests for a device: what nvcc accepts there is what the tests run.
#include <emulator/example_kernels.cuh>

namespace minidl::cuda {

void launch_examples(const float* x, int n, float* output, const float* weight, const float* bias, ConvSize size,
                     const uint16_t* halves, unsigned* arrived, cudaStream_t stream) {
  MINIDL_LAUNCH(sum_of_squares_kernel<>, 64, 256, 0, stream, x, n, output);
  MINIDL_LAUNCH(sum_of_blocks_kernel<>, 64, 32, 0, stream, x, n, output + 1, arrived, output);
  MINIDL_LAUNCH(tiled_product_kernel<>, dim3(4, 4), 256, 0, stream, x, weight, output, 128, 128, n);
  MINIDL_LAUNCH(conv3x3_tf32_kernel<>, dim3(4, 4), kConvThreads, kConvShared, stream, x, weight, bias, output, size);
  MINIDL_LAUNCH(half_sums_kernel<>, 1, 32, 0, stream, halves, halves, output);
}

}  // namespace minidl::cuda

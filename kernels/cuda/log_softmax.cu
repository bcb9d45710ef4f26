#include <minidl/kernels/dispatch.h>
#include <minidl/kernels/cuda/map.cuh>
#include <minidl/kernels/cuda/reduce.cuh>

// log(softmax) along rows, in f64. A block has a row; its threads go through it together. Grid (rows), blocks of 256.
// Traffic: the row three times, of which two come from caches, and the output once.
namespace minidl::cuda {
namespace {

struct Largest {
  MINIDL_DEVICE static double identity() { return -HUGE_VAL; }
  MINIDL_DEVICE static double combine(double a, double b) { return fmax(a, b); }
};

MINIDL_KERNEL(kReduceThreads, log_softmax_forward_kernel, int64_t length, const float* input, float* output) {
  const float* const x = input + int64_t{blockIdx.x} * length;
  double largest = Largest::identity(), sum = 0.0;
  for (int64_t i = threadIdx.x; i < length; i += kReduceThreads) {
    largest = Largest::combine(largest, static_cast<double>(load(x + i)));
  }
  largest = combine_block<Largest>(largest);
  for (int64_t i = threadIdx.x; i < length; i += kReduceThreads) sum += exp(static_cast<double>(load(x + i)) - largest);
  const double log_sum = log(combine_block<Sum>(sum));
  for (int64_t i = threadIdx.x; i < length; i += kReduceThreads) {
    store(output + int64_t{blockIdx.x} * length + i,
          static_cast<float>(static_cast<double>(load(x + i)) - largest - log_sum));
  }
}

/// The gradient g - exp(y) * sum of g.
MINIDL_KERNEL(kReduceThreads, log_softmax_backward_kernel, int64_t length, const float* output,
              const float* grad_output, GradientOutput sink) {
  const int64_t row = int64_t{blockIdx.x} * length;
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < length; i += kReduceThreads)
    sum += static_cast<double>(load(grad_output + row + i));
  sum = combine_block<Sum>(sum);
  for (int64_t i = threadIdx.x; i < length; i += kReduceThreads) {
    const double y = static_cast<double>(load(output + row + i)), g = static_cast<double>(load(grad_output + row + i));
    const float gradient[1] = {static_cast<float>(g - exp(y) * sum)};
    sink.write<1>(row + i, gradient);
  }
}

}  // namespace

void log_softmax_forward(int64_t rows, int64_t length, const float* input, float* output) {
  if (rows == 0) return;
  MINIDL_LAUNCH(log_softmax_forward_kernel, blocks_for(rows, 1), kReduceThreads, 0, current_stream(), length, input,
                output);
}

void log_softmax_backward(int64_t rows, int64_t length, const float* output, const float* grad_output,
                          const GradTarget& target) {
  if (rows == 0) return;
  MINIDL_LAUNCH(log_softmax_backward_kernel, blocks_for(rows, 1), kReduceThreads, 0, current_stream(), length, output,
                grad_output, GradientOutput{target});
}

}  // namespace minidl::cuda
